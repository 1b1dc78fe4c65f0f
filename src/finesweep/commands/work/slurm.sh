#!/bin/bash
# Workers of the sweep {{ label }}. As many as you get: sbatch --array=1-64 FILE
#SBATCH --job-name={{ label }}
#SBATCH --array=1-{{ workers }}
#SBATCH --cpus-per-task=4
# Without GPUs leave the next line out.
#SBATCH --gres=gpu:{{ gpus }}
#SBATCH --time=04:00:00
# 3 minutes before the time is over the worker saves its trials and gives them back ...
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --output={{ label }}-%A_%a.log
#SBATCH --open-mode=append

export FINESWEEP_THREADS="${SLURM_CPUS_PER_TASK:-1}"
{{ python | shell }} -m finesweep work {{ folder | shell }} &
worker=$!
trap 'kill -USR1 "$worker" 2>/dev/null' USR1 TERM INT
wait "$worker"
code=$?
while kill -0 "$worker" 2>/dev/null; do  # a signal has ended the wait, not the worker
    wait "$worker"
    code=$?
done
# ... and where trials are left (75), the job goes back into the queue.
if [ "$code" -eq 75 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
fi
exit "$code"
