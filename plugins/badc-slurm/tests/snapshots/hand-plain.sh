#!/usr/bin/env bash
#SBATCH --job-name=badc-infer
#SBATCH --array=1-1
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --requeue

# shellcheck disable=SC2016 # a name may hold a dollar sign
# Written by badc infer orchestrate: a run of its own for each task. To submit it: sbatch FILE
# Where arrays may not be that large: sbatch --array=1-1000 FILE; BADC_OFFSET=1000 sbatch --array=1-500 FILE

# SLURM signals this shell only. USR1: the time limit is near. badc finishes what is in hand and commits.
warned=0 worker=
trap 'warned=1; [[ -z $worker ]] || kill -TERM "$worker" 2>/dev/null || true' USR1
trap 'warned=0; [[ -n $worker ]] || exit 143; kill -TERM "$worker" 2>/dev/null || true' TERM

set -euo pipefail
task="${SLURM_ARRAY_JOB_ID-}_${SLURM_ARRAY_TASK_ID:?submit this script with sbatch}"
index=$((SLURM_ARRAY_TASK_ID - 1 + ${BADC_OFFSET:-0}))

DATASET='/data/Anna'"'"'s set'
RECORDINGS=(
    REC1
)
MANIFESTS=(
    manifests/REC1.csv
)
CHUNK_STATUS=(
    chunks/REC1/.chunk_status.json
)
OUTPUTS=(
    out
)
TELEMETRY=(
    /logs/REC1.jsonl
)

recording=${RECORDINGS[index]} manifest=${MANIFESTS[index]} chunk_status=${CHUNK_STATUS[index]}
output=${OUTPUTS[index]} telemetry=${TELEMETRY[index]}
cd -- "$DATASET"
[[ $output == /* ]] || output=$DATASET/$output
if [[ -n $chunk_status ]]; then
    if [[ ! -f $chunk_status ]]; then
        printf '%s: there is no %s; cut the recording first\n' "$recording" "$chunk_status" >&2
        exit 2
    fi
    if ! grep -Eq '"status"[[:space:]]*:[[:space:]]*"completed"' -- "$chunk_status"; then
        printf '%s: its chunk files are not complete, says %s\n' "$recording" "$chunk_status" >&2
        exit 3
    fi
fi
resume=()

# Without GPUs of its own a task sees none, whatever the login shell had in its environment.
[[ -n ${SLURM_JOB_GPUS-} ]] || export CUDA_VISIBLE_DEVICES=""
badc=(/venv/bin/python -m badc_core)

status=75
if ((!warned)); then
    "${badc[@]}" infer run --output-dir="$output" --telemetry-log="$telemetry" --scheduler local -o 'label=it'"'"'s' -o 'path=/a b/$c' ${resume[@]+"${resume[@]}"} -- "$manifest" &
    worker=$!
    ((!warned)) || kill -TERM "$worker" 2>/dev/null || true
    status=0
    while wait "$worker" && status=0 || status=$?; kill -0 "$worker" 2>/dev/null; do :; done
    wait "$worker" && status=0 || status=$?
fi

# 75: work is left. 143: the signal came before the worker could hear it.
if (((status == 75 || status == 143) && warned && ${SLURM_RESTART_COUNT:-0} < 5)); then
    # Until SLURM ends this life; where it will not put it back, submit the script again.
    scontrol requeue "$task" && { sleep 60 & wait; }
fi
exit "$status"
