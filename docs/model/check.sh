#!/bin/sh
# Checks the models of the wake protocol and of the leadership exhaustively: every variant must hold, every mutant must fail. Needs spin and
# gcc.
# check.sh [word]: only the runs whose name contains word.
set -u
here=$(cd "$(dirname "$0")" && pwd)

# run NAME WANT FLAGS makes one search and prints one line. WANT is ok (the model holds), ends (it holds, and every run ends), fails (a
# mutant) or meets (a witness: the search reaches the situation). A NAME that begins with "lead" is of lead.pml, any other of wake.pml.
run() {
	dir=$(mktemp -d "$WAKE_TMP/run.XXXXXX") && cd "$dir" || exit 1
	cflags=-DSAFETY pflags=
	model=wake.pml
	case $1 in lead*) model=lead.pml ;; esac
	[ "$2" = ends ] && cflags=-DNP pflags=-l
	level=-O1 # compiling takes longer than most searches that end at the first error
	case $2 in fails | meets) level=-O0 ;; esac
	if ! spin -a $3 "$here/$model" >log 2>&1 || ! gcc $level -w $cflags -DMEMLIM=3500 -o pan pan.c >>log 2>&1; then
		verdict="BROKEN: does not compile"
	else
		./pan -m200000 $pflags >log 2>&1
		verdict=$(judge "$2" "$?")
	fi
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log)
	printf '%-42s %12s states  %s\n' "$1" "${states:-?}" "$verdict"
	case $verdict in
	BROKEN*)
		cat log >&2
		: >"$WAKE_TMP/broken"
		;;
	esac
	cd / && rm -rf "$dir"
}

judge() {
	if grep -Eq 'search depth too small|MEMLIM|out of memory|VECTORSZ|hash table full' log; then
		echo "BROKEN: the search was not exhaustive"
	elif [ "$1" = meets ]; then
		if grep -q '^pan:1: assertion violated.*!=' log; then echo "does happen"; else echo "BROKEN: never happens"; fi
	elif [ "$1" = fails ]; then
		why=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' log)
		if grep -q 'errors: [1-9]' log && [ -n "$why" ]; then echo "found: $why"; else echo "BROKEN: the mutant survives"; fi
	elif [ "$2" -eq 0 ] && grep -q 'errors: 0' log && ! grep -q 'Search not completed' log; then
		echo holds
	else
		echo "BROKEN: $(grep -m1 '^pan:1:' log || echo 'no result')"
	fi
}

if [ "${1-}" = --run ]; then
	shift
	run "$@"
	exit 0
fi

for tool in spin gcc; do
	if ! command -v $tool >/dev/null; then
		echo "check.sh: needs $tool, which is not installed; nothing was checked" >&2
		exit 2
	fi
done

WAKE_TMP=$(mktemp -d) || exit 1
export WAKE_TMP
trap 'rm -rf "$WAKE_TMP"' EXIT
trap 'exit 130' INT TERM

# name | expected result | flags
grep -i -- "${1-}" >"$WAKE_TMP/list" <<'LIST'
park, deadline, descriptor|ok|-DN=1 -DSOURCE=1 -DTIMER -DMOVES=1
thread, kernel's timeout, rebuild|ok|-DTHREAD -DSOURCE=1 -DTIMER -DKERNEL -DREBUILD -DMOVES=1
park, deadline moved twice|ok|-DN=1 -DTIMER
thread, deadline moved twice, descriptor|ok|-DN=1 -DTHREAD -DSOURCE=1 -DTIMER
park, 2 producers of 2|ok|-DM=2 -DSOURCE=2
park, 3 producers|ok|-DN=3 -DSOURCE=2
park, 3 producers, rebuild, 2 pollers|ok|-DN=3 -DSOURCE=1 -DREBUILD -DPOLLERS=2
thread, 3 producers of 2, rebuild|ok|-DTHREAD -DN=3 -DM=2 -DSOURCE=2 -DREBUILD
park, lock-free|ok|-DSPLIT -DSOURCE=2
park, lock-free, 3 producers|ok|-DSPLIT -DN=3
thread, lock-free, deadline|ok|-DSPLIT -DTHREAD -DN=1 -DTIMER -DMOVES=1
thread, lock-free, 3 producers, rebuild|ok|-DSPLIT -DTHREAD -DN=3 -DSOURCE=1 -DREBUILD
park, every run ends|ends|-DSOURCE=1 -DREBUILD
park, deadline, every run ends|ends|-DN=1 -DTIMER -DMOVES=1
thread, every run ends|ends|-DTHREAD -DSOURCE=2 -DREBUILD
witness: late wake, park|meets|-DSOURCE=1 -DWITNESS=1
witness: late wake, thread|meets|-DTHREAD -DSOURCE=1 -DWITNESS=1
witness: wake on a closed file|meets|-DSOURCE=1 -DREBUILD -DWITNESS=2
witness: readiness withdrawn|meets|-DSOURCE=1 -DWITNESS=3
witness: alarm before the deadline|meets|-DN=1 -DTIMER -DWITNESS=4
mutant NORECHECK, park|fails|-DNORECHECK
mutant NORECHECK, thread|fails|-DTHREAD -DNORECHECK
mutant NOSTOP|fails|-DNOSTOP
mutant AWAKELATE, park|fails|-DAWAKELATE -DSOURCE=1
mutant AWAKELATE, thread|fails|-DTHREAD -DAWAKELATE -DSOURCE=1
mutant SETSFUTURE|fails|-DN=1 -DTIMER -DSETSFUTURE
mutant RESETLATE|fails|-DRESETLATE
mutant CLOSEEARLY|fails|-DTHREAD -DCLOSEEARLY -DSOURCE=1
mutant ADOPTEARLY|fails|-DTHREAD -DREBUILD -DADOPTEARLY -DSOURCE=1
mutant CLAIMFIRST, park|fails|-DCLAIMFIRST
mutant CLAIMFIRST, thread|fails|-DTHREAD -DCLAIMFIRST
mutant CLAIMFIRST, lock-free|fails|-DSPLIT -DCLAIMFIRST
mutant LOOKFIRST, lock-free, park|fails|-DSPLIT -DLOOKFIRST
mutant LOOKFIRST, lock-free, thread|fails|-DSPLIT -DTHREAD -DLOOKFIRST
mutant KEEPFLAG|fails|-DKEEPFLAG
mutant CLAIMDROPPED|fails|-DCLAIMDROPPED
mutant LOOPKNOWS|fails|-DLOOPKNOWS -DSOURCE=1
mutant WAKERKNOWS|fails|-DWAKERKNOWS -DSOURCE=1
mutant NOLOOK|fails|-DNOLOOK -DSOURCE=1
mutant ALARMLATE|fails|-DN=1 -DTIMER -DALARMLATE
mutant KEEPSLATER|fails|-DN=1 -DTIMER -DKEEPSLATER
mutant TILLKEPT, park|fails|-DN=1 -DTIMER -DTILLKEPT
mutant TILLKEPT, thread|fails|-DN=1 -DTHREAD -DSOURCE=1 -DTIMER -DTILLKEPT
ways, 2 producers, 3 changes|ok|-DADAPTIVE -DCHANGES=3 -DSOURCE=2
ways, 3 producers|ok|-DADAPTIVE -DN=3
ways, 2 pollers of the runtime|ok|-DADAPTIVE -DPOLLERS=2
ways, deadline, descriptor|ok|-DADAPTIVE -DN=0 -DTIMER -DMOVES=1
ways, producer, deadline|ok|-DADAPTIVE -DN=1 -DSOURCE=0 -DTIMER -DMOVES=1
ways, every run ends|ends|-DADAPTIVE -DN=1 -DCHANGES=3 -DSOURCE=2
ways, deadline, every run ends|ends|-DADAPTIVE -DN=0 -DTIMER -DMOVES=1
ways, witness: late wake|meets|-DADAPTIVE -DWITNESS=1
ways, witness: wake of a park while blocked|meets|-DADAPTIVE -DWITNESS=5
ways, witness: wake during the change|meets|-DADAPTIVE -DWITNESS=6
ways, witness: close while a wake rings|meets|-DADAPTIVE -DWITNESS=7
ways, witness: wake on the next file|meets|-DADAPTIVE -DSOURCE=2 -DWITNESS=8
ways, mutant WAYLATE|fails|-DADAPTIVE -DWAYLATE
ways, mutant RINGOTHER|fails|-DADAPTIVE -DRINGOTHER
ways, mutant NOTDRAINED|fails|-DADAPTIVE -DNOTDRAINED
ways, mutant FULLBATCH|fails|-DADAPTIVE -DFULLBATCH
ways, mutant REFUSED|fails|-DADAPTIVE -DREFUSED
ways, mutant NOAWAIT|fails|-DADAPTIVE -DNOAWAIT
ways, mutant CLOSEEITHER|fails|-DADAPTIVE -DCLOSEEITHER
ways, mutant ALARMKEPT|fails|-DADAPTIVE -DN=0 -DTIMER -DMOVES=1 -DALARMKEPT
lead, two workers|ok|-DW=2 -DNG=6
lead, Blocking, Goexit|ok|-DBLOCKS=1 -DGOEXITS=1
lead, close|ok|-DCLOSES
lead, 3 requests|ok|-DR=3
lead, one tick|ok|-DONETICK -DHANGS=0
lead, Rest|ok|-DRESTS -DR=1
lead, Rest, quick handlers|ok|-DRESTS -DR=1 -DHANGS=0
lead, every run ends|ends|-DHANGS=0
lead, witness: a handler loses|meets|-DWITNESS=1
lead, witness: a quick one loses|meets|-DHANGS=0 -DONETICK -DWITNESS=2
lead, witness: Goexit after the loss|meets|-DGOEXITS=1 -DWITNESS=3
lead, witness: Rest keeps the tick|meets|-DRESTS -DR=1 -DHANGS=0 -DWITNESS=4
lead, witness: Rest before a tick|meets|-DRESTS -DR=1 -DHANGS=0 -DWITNESS=5
lead, witness: the successor of a suspended turn|meets|-DWITNESS=6
lead, mutant NONUMBER|fails|-DHANGS=0 -DW=2 -DNG=6 -DNONUMBER
lead, mutant RETURNSTORES|fails|-DRETURNSTORES
lead, mutant TAKESTORES|fails|-DHANGS=0 -DTAKESTORES
lead, mutant REPLACEFIRST|fails|-DREPLACEFIRST
lead, mutant POPLATE|fails|-DW=2 -DNG=6 -DPOPLATE
lead, mutant SERVESLOST|fails|-DSERVESLOST
lead, mutant RUNSREST|fails|-DW=2 -DNG=6 -DRUNSREST
lead, mutant ENDLOST|fails|-DENDLOST
lead, mutant USEFIRST|fails|-DUSEFIRST
lead, mutant STOPUNREAD|fails|-DCLOSES -DSTOPUNREAD
lead, mutant NOTCOUNTED|fails|-DR=3 -DHANGS=3 -DNG=5 -DNOTCOUNTED
lead, mutant OVERLIMIT|fails|-DHANGS=2 -DW=2 -DNG=6 -DOFFERS=2 -DOVERLIMIT
lead, mutant CLOSEDLATE|fails|-DCLOSES -DCLOSEDLATE
lead, mutant REJOINSEARLY|fails|-DR=3 -DREJOINSEARLY
lead, mutant NOWAKE|fails|-DNOWAKE
lead, mutant NOSUCCESSOR|fails|-DHANGS=0 -DGOEXITS=1 -DNOSUCCESSOR
lead, mutant FINISHEDLOST|fails|-DHANGS=0 -DGOEXITS=1 -DFINISHEDLOST
lead, mutant NOQUIT|fails|-DGOEXITS=1 -DCLOSES -DNOQUIT
lead, mutant SUSPENDEDSLEEPS|fails|-DHANGS=0 -DSUSPENDEDSLEEPS
lead, mutant SUSPENDEDUNREAD|fails|-DR=3 -DSUSPENDEDUNREAD
lead, mutant TURNFORGOTTEN|fails|-DR=3 -DHANGS=0 -DTURNFORGOTTEN
lead, mutant FOUNDKEPT|fails|-DR=3 -DHANGS=0 -DFOUNDKEPT
lead, mutant RESTBLIND|fails|-DRESTS -DR=1 -DHANGS=0 -DRESTBLIND
lead, mutant RESTLOOKSFIRST|fails|-DRESTS -DR=1 -DHANGS=0 -DRESTLOOKSFIRST
lead, mutant RESTUNLOCKED|fails|-DRESTS -DR=1 -DHANGS=0 -DRESTUNLOCKED
lead, mutant FIRESEARLY|fails|-DRESTS -DR=1 -DHANGS=0 -DFIRESEARLY
LIST

if [ ! -s "$WAKE_TMP/list" ]; then
	echo "check.sh: the name of no run contains ${1-}" >&2
	exit 2
fi

# The number of searches at once is the number of processors, up to four: the largest search takes a gigabyte.
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
[ "$jobs" -gt 4 ] && jobs=4
tr '|\n' '\0\0' <"$WAKE_TMP/list" | xargs -0 -n 3 -P "$jobs" sh "$0" --run

if [ -e "$WAKE_TMP/broken" ]; then
	echo "check.sh: FAILED" >&2
	exit 1
fi
echo "all $(wc -l <"$WAKE_TMP/list" | tr -d ' ') runs as expected"
