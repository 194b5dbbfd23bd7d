#!/usr/bin/env bash
#SBATCH --job-name=emres
#SBATCH --array=0-15%8
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --output=emres-%A_%a.log

# The local resolution of a list of entries as a SLURM job array, without Dask: one task takes every n-th id.
#
#     emres fetch --list ids.txt --to store                                  # where there is a network
#     sbatch workflows/slurm_array.sh ids.txt store --export maps            # options go to emres batch-predict
#     sbatch --array=0-31%8 --gres=gpu:1 workflows/slurm_array.sh ids.txt store --export maps
#     emres report store -o index.html                                       # at the end; failures are told there
#
# Submit it where `emres` is found: jobs inherit the environment. ids.txt has one id a line, # begins a comment.
#
# All tasks write one store: each entry has a folder and locks of its own, and what is seen in it is whole. After
# a time limit or a kill the same command goes on, and does nothing twice. Where entries are not fetched before, every
# task fetches its own, one at a time; %8 keeps the archive from being asked by more than eight. A task's exit code is
# that of emres batch-predict: 0 all done, 3 some entries failed.
#
# To do a few tasks again, say of how many they are: EMRES_TASKS=16 sbatch --array=3,7 workflows/slurm_array.sh ...
#
# What it takes is in the head of emdb_sweep.py: about a minute of one core for 256^3 voxels; 8 GB of memory are for the
# largest maps. 1000 entries of 256^3 in 16 tasks are about an hour and a quarter, 185 GB of disk, 0 GPUs.

set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: sbatch [--array=0-15] slurm_array.sh IDS.txt STORE [option of emres batch-predict ...]" >&2
    exit 2
fi
ids=$1 store=$2
shift 2
[ -r "$ids" ] && [ -f "$ids" ] || { echo "error: the list $ids cannot be read" >&2; exit 2; }

task=${SLURM_ARRAY_TASK_ID:-}
[ -n "$task" ] || { echo "error: this is no task of an array; submit it: sbatch --array=0-15 $0" >&2; exit 2; }
tasks=${EMRES_TASKS:-$((${SLURM_ARRAY_TASK_MAX:-$task} + 1))}
if [ -z "${EMRES_TASKS:-}" ] && [ "${SLURM_ARRAY_TASK_COUNT:-$tasks}" != "$tasks" ]; then
    echo "error: the tasks do not count from 0 without gaps, so some ids would be nobody's; set EMRES_TASKS" >&2
    exit 2
fi
[ "$task" -lt "$tasks" ] || { echo "error: task $task of EMRES_TASKS=$tasks; they count from 0" >&2; exit 2; }

mine=$(awk -v n="$tasks" -v k="$task" '{ sub(/#.*/, ""); gsub(/[ \t\r]/, "") } NF && !seen[$0]++ && i++ % n == k' "$ids")
[ -n "$mine" ] || { echo "task $task of $tasks has no id to do"; exit 0; }
echo "task $task of $tasks: $(wc -l <<<"$mine") entries"

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
exec emres batch-predict --list /dev/stdin --to "$store" "$@" <<<"$mine"
