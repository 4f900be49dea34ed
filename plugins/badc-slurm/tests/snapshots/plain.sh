#!/usr/bin/env bash
#SBATCH --job-name=badc-RUN-0
#SBATCH --array=0-2
#SBATCH --output=/dev/null
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --requeue

# shellcheck disable=SC2016 # a name may hold a dollar sign
# A shard of a BADC run for each task. To look: badc jobs status RUN
folder=/scratch/anna/out/.badc/RUN
workdir=/scratch/anna
shard=$((0 + SLURM_ARRAY_TASK_ID))
number="$(printf %06d "$shard")"
task="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" # never the bare job id: the last task's is the array's
life="$task.${SLURM_RESTART_COUNT:-0}"
node="${SLURMD_NODENAME:-$HOSTNAME}"

[[ ! -e "$folder/slurm/badc-RUN-0.withdrawn" ]] || exit 0 # its shards were handed over again
mkdir -p -- "$folder/logs" || exit 74
exec >>"$folder/logs/$number.log" 2>&1 || exit 74
printf "== shard %s, task %s on %s, %s\n" "$shard" "$life" "$node" "$(date -u +%FT%TZ)"

# SLURM signals this shell only. USR1: the time limit is near. The worker finishes its batch and commits.
warned=0 worker=
trap 'warned=1; [[ -z $worker ]] || kill -USR1 "$worker" 2>/dev/null || true' USR1
trap 'warned=0; [[ -n $worker ]] || exit 143; kill -TERM "$worker" 2>/dev/null || true' TERM

set -euo pipefail
cd -- "$workdir"
export CUDA_VISIBLE_DEVICES='' # none was asked for

status=75
if ((!warned)); then
    /venv/bin/python -m badc_core worker "$folder" --shard "$shard" --life "$life" --place "$node" &
    worker=$!
    ((!warned)) || kill -USR1 "$worker" 2>/dev/null || true
    status=0
    while wait "$worker" && status=0 || status=$?; kill -0 "$worker" 2>/dev/null; do :; done
    wait "$worker" && status=0 || status=$?
fi
printf "== shard %s, task %s ended with status %s\n" "$shard" "$life" "$status"

# 75: work is left. 138: the signal came before the worker could hear it.
if (((status == 75 || status == 138) && warned && ${SLURM_RESTART_COUNT:-0} < 5)); then
    # Until SLURM ends this life; where it will not put it back, badc hands the shard over again.
    if ((${SLURM_RESTART_COUNT:-0} == 0)) || grep -q '"final":true' -- "$folder/events/$number.$life.jsonl" 2>/dev/null; then
        scontrol requeue "$task" && { sleep 60 & wait; }
    else
        echo "Nothing was done in this life: it is not put back."
    fi
fi
exit "$status"
