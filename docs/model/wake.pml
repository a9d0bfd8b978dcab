/*
 * The wake protocol of package event, and the parts of the Go runtime's poller and of the kernel on which it depends.
 * README.md lists the function for each step; check.sh runs every variant and every mutant.
 *
 * Variants (-D):
 *   THREAD      the thread driver; without it the parked driver
 *   ADAPTIVE    the adaptive driver, which parks at first and changes the way CHANGES times at most, before any sleep
 *   N, M        N producers of M messages each
 *   SOURCE=n    a descriptor becomes readable n times; without it only wakes end a sleep, and no wake is late
 *   POLLERS=n   n threads at once take readiness from the runtime's epoll set
 *   TIMER       another goroutine sets the loop's deadline, MOVES times; the alarm
 *   KERNEL      with THREAD and TIMER: the kernel's timeout instead of the alarm
 *   REBUILD     the poller may be replaced once
 *   SPLIT       the lock-free form: no critical section joins two steps, so only the order of the steps is left
 * The loop may be closed at any time, or never.
 *
 * Each mutant (-D) breaks one rule. A witness (-DWITNESS=n) fails when a certain situation is reached, which shows that the search
 * includes it. Comments mark both.
 */

#ifdef ADAPTIVE
#if defined(THREAD) || defined(SPLIT) || defined(REBUILD)
#error "ADAPTIVE has no variant THREAD, SPLIT or REBUILD"
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#if CHANGES > 3
#error "ADAPTIVE has two files, so at most 3 changes"
#endif
#ifndef SOURCE
#define SOURCE 1
#endif
#ifdef TIMER
#define KERNEL          /* while the loop blocks; the alarm while it is parked */
#endif
#endif

/* The ways that the variant has. */
#if defined(THREAD) || defined(ADAPTIVE)
#define BLOCKS
#endif
#ifndef THREAD
#define PARKS
#endif
/* The deadline ends a sleep through the alarm. */
#if defined(PARKS) || !defined(KERNEL)
#define ALARMS
#endif

#ifndef N
#define N 2
#endif
#ifndef M
#define M 1
#endif
#ifndef WITNESS
#define WITNESS 0
#endif

/* l.mu joins the steps of a critical section, and only those. */
#ifdef SPLIT
#define CRITICAL
#else
#define CRITICAL atomic
#endif

/* ---- the loop's tables and its flag: Loop.mu guards them ---- */

bool asleep;        /* l.asleep */
byte posts;         /* published and not delivered: l.active and l.posts */
bool closing;       /* l.state; it represents every reason to stop: Break, Exit, a cancelled context, no event left */
bool owned = true;  /* l.owner: the loop's goroutine is in Run */
byte wakes;         /* claimed and not finished; the thread driver counts them, too; for the parked driver only the model does */

/* Variables for the properties. The protocol does not read them. */
bool inTurn = true; /* from awake, when the loop begins to empty its tables, until the flag is set again */
bool claimed;       /* a waker has claimed the current sleep */
bool otherWork;     /* ... and has published something that is not in posts: a deadline, or that time has passed */

#define WORK (posts > 0 || closing)

#if defined(NORECHECK)          /* mutant: fallAsleep does not look at the tables */
#define FOUND false
#elif defined(NOSTOP)           /* mutant: fallAsleep looks at messages and not at the reasons to stop */
#define FOUND (posts > 0)
#else
#define FOUND WORK
#endif

/* ---- time ---- */

#ifdef TIMER
#define HORIZON 2
#ifndef MOVES
#define MOVES 2
#endif
byte now;
byte due;           /* l.timers' first deadline; 0 if there is none */
byte till;          /* l.sleepsUntil: the deadline to which the loop sleeps; 0 without a deadline */
byte at;            /* alarm.at */
bool armed;         /* alarm.timer: the clock's timer is pending ... */
byte when;          /* ... for this time */
byte off;           /* the number of expired timers whose function fired has not reached its claim */
bool busy;          /* the first process that runs fired is running it */
#endif

/* ---- a descriptor in the poller: level-triggered; data is the number of readable bytes ---- */

#ifdef SOURCE
byte data;
#define READABLE (data > 0)
#else
#define READABLE false
#endif

/* ---- below the drivers: 0 is the first file or poller, 1 the one that a rebuild installs. With ADAPTIVE there is one poller, and 1
 * is the file that is made when the loop stops blocking ---- */

#ifdef REBUILD
#define P 2
#else
#define P 1
#endif
#if defined(REBUILD) || defined(ADAPTIVE)
#define F 2
#else
#define F 1
#endif

#ifdef ADAPTIVE
bool blocking;      /* d.blocking: the way of the next sleep */
byte changes;
short rings;        /* d.block.pendingWakes: the wakes of the blocking way that were announced; less than 0 only with a mutant */
#define WATCHED (data > 0 || bell[0])	/* the poller's descriptor is readable */
#else
#define WATCHED (data > 0)
#endif

#ifdef BLOCKS
byte poller;        /* d.poller */
bool open[P] = true; /* its wake descriptor is open; afterwards another file may have the number */
bool bell[P];       /* the eventfd's counter is not zero, or a byte is in the socketpair */
bool blocked;       /* the thread is in epoll_wait or poll, with a timeout other than 0 */
#ifdef TIMER
byte until;         /* ... until this time; 0 for ever */
#define TIMEOUT (until != 0 && now >= until)
#else
#define TIMEOUT false
#endif
#endif
#ifdef PARKS
/* runtime.pollDesc, of the loop's file in the runtime's poller */
#define NIL 0
#define WAIT 1
#define G 2
#define READY 3
#define NONE 0
#define PAST 1
#define FUTURE 2    /* only a mutant sets it */
byte file;          /* d.file */
byte rg[F];         /* pd.rg: pdNil, pdWait, the loop's goroutine, pdReady */
byte rd[F];         /* pd.rd, which publishInfo makes visible at once */
bool locked[F];     /* pd.lock */
bool shut[F];       /* the file is closed to new users: fdMutex */
byte refs[F];       /* users that the file's Close waits for */
bool gone[F];       /* the descriptor is closed and the pollDesc freed */
bool parked;        /* the goroutine is parked and not runnable */
bool fresh[F];      /* for the properties: a deadline was set that has ended no Read yet */
#ifdef SOURCE
bool edge[F];       /* the runtime's epoll set has the file on its ready list */
byte taken[F];      /* netpoll has taken it from the list, and netpollready has not been called yet */
#define SEEN (edge[file] || taken[file] > 0)
#endif
#ifdef SETSFUTURE
bool rt;            /* pd.rt, the runtime's timer of a read deadline in the future: pd.rrun */
byte rtwhen;
#endif
#ifdef WAKERKNOWS
bool isSet;         /* the wakers' record of the deadline */
#endif
#endif

/* ---- a wake is lost when the loop sleeps, no waker is about to wake it, and there is work. This holds even if a timeout or a
 * descriptor would end the sleep later. ---- */

#ifdef TIMER
#if defined(ADAPTIVE)
#define ALARM (blocked && until != 0 && until <= due || !blocked && (armed && when <= due || off > 0))
#elif defined(KERNEL)
#define ALARM (until != 0 && until <= due)
#elif defined(SETSFUTURE)
#define ALARM (armed && when <= due || off > 0 || rt && rtwhen <= due)
#else
#define ALARM (armed && when <= due || off > 0)
#endif
#define OVERSLEPT (due != 0 && !ALARM)
#else
#define OVERSLEPT false
#endif

#if defined(ADAPTIVE)
#define SLEEPS (blocked && !bell[0] || rg[file] == G)
#define UNSEEN (rg[file] == G && data > 0 && !SEEN)
#elif defined(THREAD)
#define SLEEPS (blocked && !bell[poller])
#define UNSEEN false
#else
#define SLEEPS (rg[file] == G)
#ifdef SOURCE
#define UNSEEN (data > 0 && !SEEN)
#else
#define UNSEEN false
#endif
#endif

#define LOST (SLEEPS && wakes == 0 && (!asleep || WORK || OVERSLEPT || UNSEEN))

bool wakeLost;

#ifdef ADAPTIVE
/* A look does not empty the wake descriptor. While it is not empty, the poller's descriptor is readable, so a parked loop would spin. */
#define SPINS (rg[file] == G && bell[0])
bool spins;
#endif

active proctype monitor() {
end:	if
	:: atomic { LOST -> wakeLost = true; assert(!wakeLost) }
#ifdef ADAPTIVE
	:: atomic { SPINS -> spins = true; assert(!spins) }
#endif
	fi
}

/* ---- claim: under l.mu. Only the waker that changes the flag wakes. ---- */

inline claim(won) {
	if
	:: asleep ->
		assert(!inTurn);	/* no wake for a loop that is awake */
		assert(!claimed);	/* one wake for each sleep */
		claimed = true;
#ifndef KEEPFLAG		/* mutant: the waker wakes without changing the flag */
		asleep = false;
#endif
		announce();
		won = true
	:: else ->
		won = false
	fi
}

inline noteOther(won) {
	if
	:: won -> otherWork = true
	:: else
	fi
}

/* driver.announceWake. In the lock-free form a waker announces its wake before it reads the flag, and withdraws it if the loop was awake. */
inline announce() {
#ifdef ADAPTIVE
	way = blocking;		/* the driver that announceWake returns */
	if
	:: way -> rings++
	:: else
	fi;
#endif
#ifndef SPLIT
	wakes++
#else
	skip
#endif
}

inline announceEarly() {
#ifdef SPLIT
	wakes++
#else
	skip
#endif
}

inline withdraw(won) {
#ifdef SPLIT
	if
	:: !won -> wakes--
	:: else
	fi
#else
	skip
#endif
}

/* ---- wake: after l.mu was unlocked ---- */

#ifdef ADAPTIVE
/* The poller has become readable; the runtime's epoll set watches it unless the file is closed. */
inline notify() {
	if
	:: !gone[file] -> edge[file] = true
	:: else
	fi
}
#endif

#ifdef BLOCKS

inline ring(won) {
	if
	:: won ->
#ifdef REBUILD
		f = poller;
#endif
		atomic {
			assert(open[f]);	/* never the descriptor of another file */
			bell[f] = true		/* Poller.Wake */
#ifdef ADAPTIVE
			; notify()
#endif
		};
#ifdef ADAPTIVE
		atomic { wakes--; rings--; won = false; way = false }
#else
		atomic { wakes--; won = false; f = 0 }
#endif
	:: else
	fi
}

#endif

#ifdef PARKS

/* netpollunblock; a goroutine that has not committed its park yet need not be made runnable. */
inline unblock(i, new) {
	if
	:: rg[i] == G -> rg[i] = new; woke = true
	:: rg[i] == WAIT -> rg[i] = new
	:: else
	fi
}

inline goready() {
	if
	:: woke -> parked = false; woke = false
	:: else
	fi
}

inline stopTimer() {
#ifdef SETSFUTURE
	rt = false
#else
	skip
#endif
}

/* SetReadDeadline: incref, then runtime_pollSetDeadline under pd.lock: rd and publishInfo, netpollunblock, unlock; then
 * goready and decref. */
inline setPast(won) {
	if
	:: won ->
#ifdef WAKERKNOWS	/* mutant: a waker remembers that the deadline is set, and does not set it again */
		if
		:: isSet -> wakes--; won = false
		:: else
		fi;
#endif
#if F > 1
		f = file;
#endif
		atomic {
#ifdef ADAPTIVE
			assert(WITNESS != 5 || !blocked);	/* witness: a wake of the parked way comes when the loop blocks */
			assert(WITNESS != 8 || f == 0 || !blocking);	/* witness, with 2 changes: ... or when it has made another file, and has not parked on it yet */
#endif
			if
			:: won && !shut[f] -> refs[f]++
			:: won && shut[f] -> wakes--; won = false; f = 0; assert(WITNESS != 2)	/* the file is being closed: the wake has no effect */
			:: else
			fi
		}
	:: else
	fi;
	if
	:: won ->
		atomic {
			!locked[f] -> locked[f] = true;
			assert(!gone[f]);	/* never a pollDesc that may belong to another file */
			rd[f] = PAST; fresh[f] = true;
			stopTimer()
		};
		atomic { unblock(f, NIL); locked[f] = false };
#ifdef WAKERKNOWS
		atomic { goready(); refs[f]-- };
		atomic { isSet = true; wakes--; won = false; f = 0 }
#else
		atomic { goready(); refs[f]--; wakes--; won = false; f = 0 }
#endif
	:: else
	fi
}

#endif

inline wake(won) {
#if defined(ADAPTIVE)
#ifdef WAYLATE		/* mutant: the waker reads the way after it has unlocked */
	way = blocking;
#endif
	if
#ifdef RINGOTHER	/* mutant: the waker uses the other way */
	:: won && !way -> rings++; ring(won)
	:: won && way -> rings--; way = false; setPast(won)
#else
	:: won && way -> ring(won)
	:: won && !way -> setPast(won)
#endif
	:: else
	fi
#elif defined(THREAD)
	ring(won)
#else
	setPast(won)
#endif
}

/* ---- publish, claim, wake: Post, Activate, Break and similar methods ---- */

#if defined(ADAPTIVE)
#define WAKER byte f; bool won, woke, way
#elif defined(THREAD)
#define WAKER byte f; bool won
#else
#define WAKER byte f; bool won, woke
#endif

#if N > 0
active [N] proctype producer() {
	WAKER;
	byte sent;

	do
	:: sent < M ->
#ifdef CLAIMFIRST	/* mutant: the flag is read before the message is published */
		atomic { announceEarly(); claim(won); withdraw(won) };
		atomic { if :: closing :: else -> posts++ fi; sent++ };
#else
		CRITICAL {
			atomic {
				sent++;
				if
				:: closing -> goto refused	/* ErrClosed */
				:: else -> posts++
				fi;
				announceEarly()
			};
			atomic { claim(won); withdraw(won) }
#ifdef CLAIMDROPPED	/* mutant: a second claim in the same critical section hides the first */
			; atomic { claim(won) }
#endif
		};
#endif
		wake(won);
refused:	skip
	:: else -> break
	od
}
#endif

/* ---- the alarm, the clock, and a goroutine that moves the loop's deadline ---- */

#ifdef TIMER

active proctype clock() {
	do
	:: now < HORIZON -> now++
	:: else -> break
	od
}

/* Add from another goroutine, several times. Only a deadline before the one to which the loop sleeps wakes it. After a deadline is moved to
 * a later time, the alarm goes off early. */
active proctype adder() {
	WAKER;
	byte moves;

	do
	:: moves < MOVES ->
		CRITICAL {
			atomic {
				moves++;
				if
				:: closing -> goto refused
				:: !closing && now <= 1 -> due = 1
				:: !closing -> due = 2
				fi;
				announceEarly()
			};
#ifndef SETSFUTURE
			atomic {
				if
				:: till == 0 || due < till -> claim(won); noteOther(won)
				:: else
				fi;
				withdraw(won)
			}
#endif
		};
#ifdef SETSFUTURE	/* mutant: another goroutine sets the read deadline, in the future, for the loop's timer */
		f = file;
		atomic { !locked[f] -> if :: due != 0 -> rd[f] = FUTURE; fresh[f] = false; rt = true; rtwhen = due :: else fi };
#else
		wake(won);
#endif
refused:	skip
	:: else -> break
	od
}

#ifdef SETSFUTURE
/* netpollReadDeadline: the runtime's timer. */
active proctype readDeadline() {
	WAKER;
end:	do
	:: atomic { rt && now >= rtwhen && !locked[file] -> rt = false; off++; locked[file] = true; rd[file] = PAST; fresh[file] = true };
	   atomic { unblock(file, NIL); locked[file] = false; off-- };
	   atomic { goready() }
	od
}
#endif

#ifdef ALARMS
/* fired publishes that time has passed. */
inline fired() {
#ifdef ALARMLATE	/* mutant: the alarm clears at after its claim, not before */
	atomic { announceEarly(); claim(won); noteOther(won); withdraw(won); off-- };
	at = 0;
#else
	at = 0;
	atomic {
		announceEarly(); claim(won); noteOther(won); withdraw(won); off--;
		assert(WITNESS != 4 || !won || due <= now)	/* witness: an alarm that was kept goes off before the deadline */
	};
#endif
	wake(won)
}

inline elapse(may) {
	armed && now >= when && may -> armed = false; when = 0; off++
}

active proctype alarm() {
	WAKER;
end:	do
	:: atomic { elapse(true); busy = true };
	   fired();
	   busy = false
	od
}

/* Two calls may run at once. They are equal: the second process runs when the first is busy. */
active proctype alarm2() {
	WAKER;
end:	do
	:: atomic { elapse(busy) };
	   fired()
	od
}
#endif

/* alarm.set */
inline set() {
#ifdef ALARMS
	if
#ifdef KEEPSLATER	/* mutant: an alarm for a later time is kept */
	:: deadline == 0 || at != 0
#else
	:: deadline == 0 || at != 0 && at <= deadline
#endif
	:: else ->
		at = deadline;
		atomic { armed = true; when = deadline }
	fi
#else
	skip
#endif
}

#endif

/* ---- the descriptor becomes readable, and the runtime is notified ---- */

#ifdef SOURCE

active proctype source() {
	byte n;

	do
	:: n < SOURCE ->
		atomic {
			n++; data++;
#ifdef PARKS
			if :: !gone[0] -> edge[0] = true :: else fi;
#if F > 1
			if :: file == 1 && !gone[1] -> edge[1] = true :: else fi;
#endif
#endif
		}
	:: else -> break
	od
}

#ifdef PARKS
/* The runtime's epoll set is edge-triggered: it reports the inner set once, if it is readable when the report is taken. */
inline reportReady(i) {
	atomic { edge[i] -> edge[i] = false; if :: WATCHED -> taken[i]++ :: else -> goto end fi };
	atomic {		/* netpollready */
		if
		:: gone[i]	/* fdseq has changed */
		:: !gone[i] && rg[i] == NIL -> rg[i] = READY
		:: else -> unblock(i, READY)
		fi;
		taken[i]--
	};
	goready()
}

#ifndef POLLERS
#define POLLERS 1
#endif

active [POLLERS] proctype netpoll() {
	bool woke;
end:	do
	:: reportReady(0)
#if F > 1
	:: reportReady(1)
#endif
	od
}
#endif
#endif

/* ---- the loop ---- */

inline forget(i) {
#ifdef SOURCE
	edge[i] = false
#else
	skip
#endif
}

/* fallAsleep: set the flag, then read the tables. */
inline fallAsleep() {
	CRITICAL {
#ifdef LOOKFIRST	/* mutant: the tables are read before the flag is set */
		atomic { found = FOUND };
		atomic { asleep = true; inTurn = false; claimed = false; otherWork = false };
#else
		atomic { asleep = true; inTurn = false; claimed = false; otherWork = false };
		atomic { found = FOUND };
#endif
		atomic {
			if
			:: found -> asleep = false; inTurn = true; found = false
			:: else -> slept = true; nearest()
			fi
		}
	}
}

inline nearest() {
#ifdef TIMER
	deadline = due;
#ifdef TILLKEPT		/* mutant: a sleep without a deadline keeps the deadline of the previous sleep */
	till = (due == 0 -> till : due)
#else
	till = due
#endif
#else
	skip
#endif
}

#ifdef PARKS
/* netpollcheckerr: Read returns ErrDeadlineExceeded. */
inline expired() {
	atomic {
		rd[file] == PAST -> ended = true;
		assert(fresh[file]);	/* a wake ends one Read at most; a late one causes one empty turn */
		fresh[file] = false
	}
}
#endif

#ifdef BLOCKS
/* threadDriver.wait */
inline sleepBlocked() {
	fallAsleep();
	if
	:: !slept -> n = READABLE	/* Poller.Wait with timeout 0 does not consume a wake */
	:: else ->
#ifdef TIMER
#ifndef ADAPTIVE
		set();
#endif
#ifdef KERNEL
		until = deadline;
#endif
#endif
		if
		:: TIMEOUT -> n = READABLE	/* timeout 0, a poll without waiting */
		:: else ->
			blocked = true;
endBlocked:		atomic { (bell[poller] || READABLE || TIMEOUT) -> ended = bell[poller]; n = READABLE; blocked = false };
			if
			:: ended -> bell[poller] = false	/* drain */
#ifdef ADAPTIVE
			:: ended && n -> ended = false	/* the reports are as many as fit; the wake descriptor is not among them */
#endif
			:: else
			fi
		fi
	fi
#ifdef KERNEL
	; until = 0
#endif
}
#endif

#ifdef PARKS
/* os.File.Close: it waits for the users of the file. */
inline closeFile(i) {
	shut[i] = true;
	atomic { refs[i] == 0 -> gone[i] = true; rg[i] = NIL; rd[i] = NONE; fresh[i] = false; forget(i) }
}
#endif

#ifdef ADAPTIVE
/* adaptiveDriver.stopBlocking: the loop empties the wake descriptor before it changes the way. If the reports of Wait are as many as fit, the
 * wake descriptor may not be among them; Wait does not empty it, and the loop does not change the way. */
inline stopBlocking() {
#ifndef NOAWAIT		/* mutant: the loop does not wait for the announced wakes */
	atomic {
		assert(WITNESS != 6 || rings == 0);	/* witness: the loop waits for a wake that was announced before */
		rings <= 0
	};
#endif
#ifdef NOTDRAINED	/* mutant: the wake descriptor is not emptied */
	watch()
#else
	atomic { bell[0] = true; notify() };	/* Poller.Wake, so that Wait returns at once */
	n = READABLE;
	if
	:: n ->			/* as many reports as fit */
#ifdef FULLBATCH	/* mutant: the loop changes the way all the same */
		watch()
#else
		skip
#endif
	:: bell[0] = false;
		if
		:: watch()
		:: changes++		/* the system refuses the new file */
#ifdef REFUSED		/* mutant: the loop changes the way all the same */
			; blocking = false
#endif
		fi
	fi
#endif
}

inline watch() {
	atomic { changes++; file = 1; edge[1] = WATCHED };
	blocking = false
}
#endif

active proctype loop() {
	bool slept, found, ended, n;
	byte left;
#ifdef TIMER
	byte deadline;
#endif
#ifdef LOOPKNOWS
	bool mustReset;
#endif

	do
	:: atomic { closing -> owned = false; asleep = false; break }	/* over, leave */
	:: else ->

#ifdef ADAPTIVE
		/* adaptiveDriver.wait: the loop is awake */
		if
		:: atomic { !blocking && changes < CHANGES -> changes++; blocking = true };
			closeFile(file)		/* startBlocking */
		:: blocking && changes < CHANGES ->
			stopBlocking();
			goto turn
		:: true
		fi;
		if
		:: blocking -> sleepBlocked(); goto turn
		:: else
		fi;
#endif
#ifdef THREAD
		sleepBlocked();
#else
		/* driver.wait: RawConn.Read. prepareRead, which is pollReset: it checks the deadline and clears the readiness. */
		if
		:: expired(); goto returned
		:: else
		fi;
		rg[file] = NIL;

look:		/* pollOrSleep: poll, fallAsleep, set */
#ifdef NOLOOK		/* mutant: the function does not poll at its first call */
		if :: slept -> n = READABLE :: else fi;
#else
		n = READABLE;
#endif
		if
		:: n || slept -> assert(WITNESS != 3 || n); goto returned	/* witness: the readiness was taken back */
		:: else
		fi;
		fallAsleep();
		if
		:: !slept -> goto returned
		:: else
		fi;
#ifdef RESETLATE	/* mutant: the deadline is reset once more after the flag was set to asleep */
		atomic { !locked[file] -> rd[file] = NONE };
#endif
#ifdef TIMER
		set();
#endif

		/* waitRead, which is pollWait */
		if
		:: expired(); goto returned
		:: else
		fi;
block:		/* netpollblock */
		if
		:: atomic { rg[file] == READY -> rg[file] = NIL }; goto look
		:: atomic { rg[file] == NIL -> rg[file] = WAIT }
		fi;
		if
		:: rd[file] == PAST		/* set in the meantime: do not park */
		:: else ->			/* park: gopark, netpollblockcommit */
			atomic {
				if
				:: rg[file] == WAIT -> rg[file] = G; parked = true
				:: else
				fi
			};
end:			!parked
		fi;
		if
		:: atomic { rg[file] == READY -> rg[file] = NIL }; goto look
		:: atomic { rg[file] != READY -> rg[file] = NIL }
		fi;
		if
		:: expired()
		:: else -> goto block	/* the deadline was moved before the goroutine ran: it parks again */
		fi;

returned:	/* reset: only the error of Read shows that a deadline is set */
#ifdef LOOPKNOWS	/* mutant: the loop resets the deadline if the flag shows that a waker has set it */
		mustReset = slept && !asleep;
		if
		:: mustReset -> mustReset = false;
#else
		if
		:: ended ->
#endif
			atomic { !locked[file] -> rd[file] = NONE; stopTimer() }
#ifdef WAKERKNOWS
			; isSet = false
#endif
		:: else
		fi;
#endif

		/* awake, in the critical section in which the loop begins to empty its tables */
turn:		CRITICAL {
#ifdef AWAKELATE	/* mutant: the flag is reset only after the tables were emptied */
			atomic { inTurn = true };
#else
			atomic { asleep = false; inTurn = true };
#endif
			atomic {
#ifndef SPLIT
				assert(!slept || !claimed || WORK || otherWork);	/* a waker has published before its wake, so only a late wake causes an empty turn */
#endif
				assert(WITNESS != 1 || !ended || claimed || WORK || n);	/* witness: a turn that is empty because of a late wake */
				left = posts; ended = false;
				slept = false; claimed = false; otherWork = false;
#ifdef TIMER
				deadline = 0;
				if
				:: due != 0 && due <= now -> due = 0	/* expire */
				:: else
				fi
#endif
			}
		};
#ifdef SOURCE
		if
		:: n -> n = false; data--	/* the callback reads a part */
		:: else
		fi;
#endif
		do
		:: left > 0 && !closing -> atomic { posts--; left-- }	/* delivered */
		:: else -> left = 0; break
		od;
#ifdef AWAKELATE
		asleep = false;
#endif

#ifdef REBUILD
		/* endTurn: adopt, and the old poller is closed */
#ifdef THREAD
		if
		:: poller == 0 ->
#ifndef ADOPTEARLY	/* mutant: the poller is replaced while a wake is announced */
			wakes == 0;
#endif
			atomic { open[1] = true; poller = 1 };
			open[0] = false
		:: true
		fi;
#else
		if
		:: file == 0 ->
			atomic {
				file = 1;
#ifdef SOURCE
				edge[1] = data > 0
#endif
			};
			closeFile(0)
		:: true
		fi;
#endif
#endif
		skip
	od
}

/* ---- Close, from another goroutine, or never ---- */

active proctype closer() {
	WAKER;

	if
	:: true -> goto stays	/* never */
	:: true
	fi;
	CRITICAL {
		atomic { closing = true; announceEarly() };
		atomic { claim(won); withdraw(won) }
	};
	wake(won);
	!owned;			/* <-left: this goroutine runs the loop's functions now */
	do			/* drainPosts */
	:: posts > 0 -> posts--
	:: else -> break
	od;
	/* driver.close, Poller.Close */
#ifdef THREAD
#ifndef CLOSEEARLY	/* mutant: the wake descriptor is closed while a wake is announced */
	wakes == 0;
#endif
#endif
#ifdef TIMER
#ifdef ALARMKEPT	/* mutant: close stops only what the way of the next sleep uses */
	if
	:: blocking
	:: else -> atomic { armed = false; when = 0 }
	fi;
#else
	atomic { armed = false; when = 0 };	/* alarm.stop */
#endif
#endif
#if defined(ADAPTIVE)
	assert(WITNESS != 7 || !blocking || rings == 0);	/* witness: close while the loop blocks and a wake is announced */
#ifndef CLOSEEITHER	/* mutant: close does not wait for the announced wakes of the blocking way */
	rings <= 0;
#endif
	if
	:: blocking
	:: else -> closeFile(file)
	fi;
	open[0] = false;
#ifdef TIMER
	assert(!armed);		/* the clock has no timer of a closed loop */
#endif
#elif defined(THREAD)
	open[poller] = false;
#else
	closeFile(file);
#endif
	assert(posts == 0);	/* all accepted functions have run */
stays:	skip
}
