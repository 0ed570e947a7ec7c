#!/bin/sh
# Does the campaign find every planted bug (csrc/verifier/plant.h, plants.txt)? One build with -DPF_PLANT=pf_plant serves
# for all; each bug has SECONDS_EACH seconds. Usage: planted.sh [NUMBER...]
# Exit status 1 when one was not found, or when something is found with nothing planted.
set -u
cd "$(dirname "$0")" || exit 2
BUILD=${BUILD:-build}
SECONDS_EACH=${SECONDS_EACH:-60}
SEED=${SEED:-1}
make -s BUILD="$BUILD" "$BUILD/campaign_planted" || exit 2
corpus=
[ -f "$BUILD/corpus.bin" ] && corpus="--corpus $BUILD/corpus.bin"
missed=0
found=0
for n in ${*:-$(sed -n 's/^\([0-9][0-9]*\) .*/\1/p' plants.txt)}; do
	# shellcheck disable=SC2086
	out=$("$BUILD/campaign_planted" --facts $corpus --seed "$SEED" --programs 100000000 --seconds "$SECONDS_EACH" \
		--stop-on-finding --plant "$n" --json)
	status=$?
	programs=$(printf '%s\n' "$out" | sed -n 's/.*"programs": \([0-9]*\),.*/\1/p' | tail -1)
	took=$(printf '%s\n' "$out" | sed -n 's/.*"seconds": \([0-9.]*\).*/\1/p' | tail -1)
	kind=$(printf '%s\n' "$out" | sed -n 's/^finding: \([^,]*\),.*/\1/p' | head -1)
	if [ "$status" -eq 1 ]; then
		found=$((found + 1))
		echo "$n found after $programs programs, $took s ($kind): $(sed -n "s/^$n //p" plants.txt)"
	else
		missed=$((missed + 1))
		echo "$n NOT FOUND in $programs programs, $took s: $(sed -n "s/^$n //p" plants.txt)"
	fi
done
echo "found $found, not found $missed"
[ "$missed" -eq 0 ]
