#!/usr/bin/env bash
#SBATCH --job-name=badc-infer
#SBATCH --gres=gpu:1
#SBATCH --time=1:00:00
#SBATCH --array=1-11%5
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --requeue

# shellcheck disable=SC2016 # a name may hold a dollar sign
# Written by badc infer orchestrate: a run of its own for each task. To submit it: sbatch FILE
# Where arrays may not be that large: sbatch --array=1-1000 FILE; BADC_OFFSET=1000 sbatch --array=1-500 FILE

# As asked for with setup.
module load cuda

set -euo pipefail
task="${SLURM_ARRAY_JOB_ID-}_${SLURM_ARRAY_TASK_ID:?submit this script with sbatch}"
index=$((SLURM_ARRAY_TASK_ID - 1 + ${BADC_OFFSET:-0}))

DATASET='/data/Anna'"'"'s set'
LOG_DIR='lo gs'
RECORDINGS=(
    REC1
    'site 1  REC'
    'Anna'"'"'s REC'
    '"a" `b` $(touch never) $HOME ${x}'
    'a
b'
    100%_%A_%a
    'a\nb'
    'Größe 鳥'
    -rf
    '*[a]?{b,c}'
    '$LOG_DIR'
)
MANIFESTS=(
    manifests/REC1.csv
    'manifests/site 1  REC.csv'
    'manifests/Anna'"'"'s REC.csv'
    'manifests/"a" `b` $(touch never) $HOME ${x}.csv'
    'manifests/a
b.csv'
    manifests/100%_%A_%a.csv
    'manifests/a\nb.csv'
    'manifests/Größe 鳥.csv'
    manifests/-rf.csv
    'manifests/*[a]?{b,c}.csv'
    'manifests/$LOG_DIR.csv'
)
CHUNK_STATUS=(
    chunks/REC1/.chunk_status.json
    'chunks/site 1  REC/.chunk_status.json'
    'chunks/Anna'"'"'s REC/.chunk_status.json'
    'chunks/"a" `b` $(touch never) $HOME ${x}/.chunk_status.json'
    'chunks/a
b/.chunk_status.json'
    chunks/100%_%A_%a/.chunk_status.json
    'chunks/a\nb/.chunk_status.json'
    'chunks/Größe 鳥/.chunk_status.json'
    chunks/-rf/.chunk_status.json
    'chunks/*[a]?{b,c}/.chunk_status.json'
    'chunks/$LOG_DIR/.chunk_status.json'
)
OUTPUTS=(
    out
    out
    out
    out
    out
    out
    out
    out
    out
    out
    out
)
TELEMETRY=(
    "$LOG_DIR"/REC1.jsonl
    "$LOG_DIR"/'site 1  REC.jsonl'
    "$LOG_DIR"/'Anna'"'"'s REC.jsonl'
    "$LOG_DIR"/'"a" `b` $(touch never) $HOME ${x}.jsonl'
    "$LOG_DIR"/'a
b.jsonl'
    "$LOG_DIR"/100%_%A_%a.jsonl
    "$LOG_DIR"/'a\nb.jsonl'
    "$LOG_DIR"/'Größe 鳥.jsonl'
    "$LOG_DIR"/-rf.jsonl
    "$LOG_DIR"/'*[a]?{b,c}.jsonl'
    "$LOG_DIR"/'$LOG_DIR.jsonl'
)
RESUMES=(
    "$LOG_DIR"/REC1.jsonl.summary.json
    "$LOG_DIR"/'site 1  REC.jsonl.summary.json'
    "$LOG_DIR"/'Anna'"'"'s REC.jsonl.summary.json'
    "$LOG_DIR"/'"a" `b` $(touch never) $HOME ${x}.jsonl.summary.json'
    "$LOG_DIR"/'a
b.jsonl.summary.json'
    "$LOG_DIR"/100%_%A_%a.jsonl.summary.json
    "$LOG_DIR"/'a\nb.jsonl.summary.json'
    "$LOG_DIR"/'Größe 鳥.jsonl.summary.json'
    "$LOG_DIR"/-rf.jsonl.summary.json
    "$LOG_DIR"/'*[a]?{b,c}.jsonl.summary.json'
    "$LOG_DIR"/'$LOG_DIR.jsonl.summary.json'
)

recording=${RECORDINGS[index]} manifest=${MANIFESTS[index]} chunk_status=${CHUNK_STATUS[index]}
output=${OUTPUTS[index]} telemetry=${TELEMETRY[index]}
cd -- "$DATASET"
[[ $output == /* ]] || output=$DATASET/$output
mkdir -p -- "$LOG_DIR"
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
if [[ -f ${RESUMES[index]} ]]; then resume=(--resume-summary="${RESUMES[index]}"); fi

export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES-}"
if [[ -z $CUDA_VISIBLE_DEVICES ]]; then
    echo "SLURM gave this task no GPU: CUDA_VISIBLE_DEVICES is empty."
    exit 1
fi
badc=(/venv/bin/python -m badc_core)

# SLURM signals this shell only. USR1: the time limit is near. badc finishes what is in hand and commits.
warned=0 worker=
trap 'warned=1; [[ -z $worker ]] || kill -TERM "$worker" 2>/dev/null || true' USR1
trap 'warned=0; [[ -z $worker ]] || kill -TERM "$worker" 2>/dev/null || true' TERM
"${badc[@]}" infer run --output-dir="$output" --telemetry-log="$telemetry" --scheduler local -o 'label=it'"'"'s' -o 'path=/a b/$c' ${resume[@]+"${resume[@]}"} -- "$manifest" &
worker=$!
status=0
while wait "$worker" && status=0 || status=$?; kill -0 "$worker" 2>/dev/null; do :; done
wait "$worker" && status=0 || status=$?

AGGREGATES=tables
if ((status == 0 || status == 3)); then
    made=0
    "${badc[@]}" infer aggregate --manifest="$manifest" --output="$AGGREGATES/${recording}_summary.csv" \
        --parquet="$AGGREGATES/$recording.parquet" -- "$output/$recording" || made=$?
    if [[ -f $AGGREGATES/$recording.parquet ]]; then
        "${badc[@]}" report bundle --parquet="$AGGREGATES/$recording.parquet" --output-dir="$AGGREGATES" \
            --run-prefix="$recording" --bucket-minutes=30 || made=$?
    fi
    if ((status == 0)); then status=$made; fi
fi

# 75: work is left. 143: the signal came before the worker could hear it.
if (((status == 75 || status == 143) && warned && ${SLURM_RESTART_COUNT:-0} < 5)); then
    # Until SLURM ends this life; where it will not put it back, submit the script again.
    scontrol requeue "$task" && { sleep 60 & wait; }
fi
exit "$status"
