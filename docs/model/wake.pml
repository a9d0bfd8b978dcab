/*
 * The wake protocol of package event, and as much of the Go runtime's poller and of the kernel as it stands on.
 * README.md says which step is which function; check.sh runs every variant and every mutant.
 *
 * Variants (-D):
 *   THREAD      the thread driver; else the parked one
 *   N, M        N producers of M messages each
 *   SOURCE=n    a descriptor becomes readable n times; without it nothing but wakes ends a sleep, and no wake is late
 *   POLLERS=n   so many threads at once bring readiness from the runtime's epoll set
 *   TIMER       another goroutine sets the loop's deadline, MOVES times; the alarm
 *   KERNEL      with THREAD and TIMER: the kernel's own timeout in place of the alarm
 *   REBUILD     the poller may be replaced once
 *   SPLIT       the lock-free form: no critical section joins two steps, so that the order of the steps alone must do
 * The loop may be closed at any time, or never.
 *
 * Mutants (-D) break one rule each, and witnesses (-DWITNESS=n) fail where something worth checking happens, to show that it
 * does happen; both are marked where they stand.
 */

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
bool closing;       /* l.state, standing for every reason to stop: Break, Exit, a cancelled context, the last event gone */
bool owned = true;  /* l.owner: the loop's goroutine is in Run */
byte wakes;         /* claimed and not finished; the thread driver counts them, too, for the parked one only the model does */

/* What the properties need to know; nothing of the protocol reads these. */
bool inTurn = true; /* from awake, when the emptying begins, until the flag is set again */
bool claimed;       /* a waker has claimed the current sleep */
bool news;          /* ... and published something that is not in posts: a deadline, or that time has passed */

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
byte due;           /* l.timers' first deadline; 0 when there is none */
byte till;          /* l.sleepsUntil: the deadline that the loop sleeps to; 0 for ever */
byte at;            /* alarm.at */
bool armed;         /* alarm.timer: the clock's timer is pending ... */
byte when;          /* ... for this time */
byte off;           /* its timer has fired, and the function fired has not reached its claim */
bool busy;          /* the first of the processes that run fired */
#endif

/* ---- a descriptor in the poller: level-triggered, data is what can be read ---- */

#ifdef SOURCE
byte data;
#define READABLE (data > 0)
#else
#define READABLE false
#endif

/* ---- below the drivers: 0 is the first file or poller, 1 what a rebuild puts in its place ---- */

#ifdef REBUILD
#define F 2
#else
#define F 1
#endif

#ifdef THREAD
byte poller;        /* d.poller */
bool open[F] = true; /* its wake descriptor is open; afterwards another file may have the number */
bool bell[F];       /* the eventfd's counter is not zero, or a byte is in the socketpair */
bool blocked;       /* the thread is in epoll_wait or poll, with a timeout other than 0 */
#ifdef TIMER
byte until;         /* ... until this time; 0 for ever */
#define TIMEOUT (until != 0 && now >= until)
#else
#define TIMEOUT false
#endif
#else
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
byte caught[F];     /* netpoll has taken it from there and netpollready has not said so yet */
#define SEEN (edge[file] || caught[file] > 0)
#endif
#ifdef SETSFUTURE
bool rt;            /* pd.rt, the runtime's timer of a read deadline in the future: pd.rrun */
byte rtwhen;
#endif
#ifdef WAKERKNOWS
bool stands;        /* what the wakers believe of the deadline */
#endif
#endif

/* ---- a wake is lost when the loop sleeps, no waker is about to wake it, and there is something to do. A timeout or a
 * descriptor that will end the sleep by chance is no excuse. ---- */

#ifdef TIMER
#if defined(KERNEL)
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

#ifdef THREAD
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

active proctype monitor() {
end:	atomic { LOST -> wakeLost = true; assert(!wakeLost) }
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

inline noteNews(won) {
	if
	:: won -> news = true
	:: else
	fi
}

/* driver.announceWake. In the lock-free form a waker announces itself before it looks at the flag, and withdraws if it was awake. */
inline announce() {
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

#ifdef THREAD

inline wake(won) {
	if
	:: won ->
#ifdef REBUILD
		f = poller;
#endif
		atomic { assert(open[f]); bell[f] = true };	/* Poller.Wake; never the descriptor of another file */
		atomic { wakes--; won = false; f = 0 }
	:: else
	fi
}

#else

/* netpollunblock; of a goroutine that has not committed its park yet there is none to make runnable. */
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
inline wake(won) {
	if
	:: won ->
#ifdef WAKERKNOWS	/* mutant: a waker remembers that the deadline stands, and does not set it again */
		if
		:: stands -> wakes--; won = false
		:: else
		fi;
#endif
#ifdef REBUILD
		f = file;
#endif
		atomic {
			if
			:: won && !shut[f] -> refs[f]++
			:: won && shut[f] -> wakes--; won = false; f = 0; assert(WITNESS != 2)	/* the file is closing: no harm */
			:: else
			fi
		}
	:: else
	fi;
	if
	:: won ->
		atomic {
			!locked[f] -> locked[f] = true;
			assert(!gone[f]);	/* never a pollDesc that another file may have */
			rd[f] = PAST; fresh[f] = true;
			stopTimer()
		};
		atomic { unblock(f, NIL); locked[f] = false };
#ifdef WAKERKNOWS
		atomic { goready(); refs[f]-- };
		atomic { stands = true; wakes--; won = false; f = 0 }
#else
		atomic { goready(); refs[f]--; wakes--; won = false; f = 0 }
#endif
	:: else
	fi
}

#endif

/* ---- publish, claim, wake: Post, Activate, Break and their like ---- */

#ifdef THREAD
#define RINGER byte f; bool won
#else
#define RINGER byte f; bool won, woke
#endif

active [N] proctype producer() {
	RINGER;
	byte sent;

	do
	:: sent < M ->
#ifdef CLAIMFIRST	/* mutant: the flag is looked at before the message is published */
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

/* ---- the alarm, the clock, and a goroutine that moves the loop's deadline ---- */

#ifdef TIMER

active proctype clock() {
	do
	:: now < HORIZON -> now++
	:: else -> break
	od
}

/* Add from another goroutine, and again. Only a deadline before the one that the loop sleeps to wakes it; one that moves away leaves
 * the alarm to go off early. */
active proctype adder() {
	RINGER;
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
				:: till == 0 || due < till -> claim(won); noteNews(won)
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
	RINGER;
end:	do
	:: atomic { rt && now >= rtwhen && !locked[file] -> rt = false; off++; locked[file] = true; rd[file] = PAST; fresh[file] = true };
	   atomic { unblock(file, NIL); locked[file] = false; off-- };
	   atomic { goready() }
	od
}
#endif

#ifndef KERNEL
/* fired: what it publishes is that time has passed. */
inline fired() {
#ifdef ALARMLATE	/* mutant: the alarm says that it is not set any more after its claim, not before */
	atomic { announceEarly(); claim(won); noteNews(won); withdraw(won); off-- };
	at = 0;
#else
	at = 0;
	atomic {
		announceEarly(); claim(won); noteNews(won); withdraw(won); off--;
		assert(WITNESS != 4 || !won || due <= now)	/* witness: an alarm that was kept goes off before the deadline */
	};
#endif
	wake(won)
}

inline elapse(may) {
	armed && now >= when && may -> armed = false; when = 0; off++
}

active proctype alarm() {
	RINGER;
end:	do
	:: atomic { elapse(true); busy = true };
	   fired();
	   busy = false
	od
}

/* Two may be under way at once. They are alike: the second goes when the first is busy. */
active proctype alarm2() {
	RINGER;
end:	do
	:: atomic { elapse(busy) };
	   fired()
	od
}
#endif

/* alarm.set */
inline set() {
#ifndef KERNEL
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

/* ---- the descriptor becomes readable, and the runtime hears of it ---- */

#ifdef SOURCE

active proctype source() {
	byte n;

	do
	:: n < SOURCE ->
		atomic {
			n++; data++;
#ifndef THREAD
			if :: !gone[0] -> edge[0] = true :: else fi;
#ifdef REBUILD
			if :: file == 1 && !gone[1] -> edge[1] = true :: else fi;
#endif
#endif
		}
	:: else -> break
	od
}

#ifndef THREAD
/* The runtime's epoll set is edge-triggered: it reports the inner set once, if it is readable when the report is taken. */
inline hear(i) {
	atomic { edge[i] -> edge[i] = false; if :: data > 0 -> caught[i]++ :: else -> goto end fi };
	atomic {		/* netpollready */
		if
		:: gone[i]	/* fdseq has changed */
		:: !gone[i] && rg[i] == NIL -> rg[i] = READY
		:: else -> unblock(i, READY)
		fi;
		caught[i]--
	};
	goready()
}

#ifndef POLLERS
#define POLLERS 1
#endif

active [POLLERS] proctype netpoll() {
	bool woke;
end:	do
	:: hear(0)
#ifdef REBUILD
	:: hear(1)
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

/* fallAsleep: set the flag, look at the tables. */
inline fallAsleep() {
	CRITICAL {
#ifdef LOOKFIRST	/* mutant: the tables are looked at before the flag is set */
		atomic { found = FOUND };
		atomic { asleep = true; inTurn = false; claimed = false; news = false };
#else
		atomic { asleep = true; inTurn = false; claimed = false; news = false };
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
#ifdef TILLKEPT		/* mutant: a sleep without a deadline leaves that of the one before */
	till = (due == 0 -> till : due)
#else
	till = due
#endif
#else
	skip
#endif
}

#ifndef THREAD
/* netpollcheckerr: Read returns ErrDeadlineExceeded. */
inline expired() {
	atomic {
		rd[file] == PAST -> ended = true;
		assert(fresh[file]);	/* a wake ends one Read at most: late, it costs one empty turn */
		fresh[file] = false
	}
}
#endif

active proctype loop() {
	bool slept, found, ended, n;
	byte left;
#ifdef TIMER
	byte deadline;
#endif
#ifdef LOOPKNOWS
	bool turned;
#endif

	do
	:: atomic { closing -> owned = false; asleep = false; break }	/* over, leave */
	:: else ->

#ifdef THREAD
		/* driver.wait */
		fallAsleep();
		if
		:: !slept -> n = READABLE	/* Poller.Wait with timeout 0: leaves a wake where it is */
		:: else ->
#ifdef TIMER
			set();
#ifdef KERNEL
			until = deadline;
#endif
#endif
			if
			:: TIMEOUT -> n = READABLE	/* timeout 0, a poll without waiting */
			:: else ->
				blocked = true;
end:				atomic { (bell[poller] || READABLE || TIMEOUT) -> ended = bell[poller]; n = READABLE; blocked = false };
				if
				:: ended -> bell[poller] = false	/* drain */
				:: else
				fi
			fi
		fi;
#ifdef KERNEL
		until = 0;
#endif
#else
		/* driver.wait: RawConn.Read. prepareRead, which is pollReset: the deadline, and the readiness is forgotten. */
		if
		:: expired(); goto returned
		:: else
		fi;
		rg[file] = NIL;

look:		/* pollOrSleep: look, fallAsleep, set */
#ifdef NOLOOK		/* mutant: the function does not poll when it is called first */
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
		:: rd[file] == PAST		/* set since: do not park */
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
		:: else -> goto block	/* the deadline was moved before the goroutine ran: parks again */
		fi;

returned:	/* reset: only Read's error says that a deadline stands */
#ifdef LOOPKNOWS	/* mutant: the loop resets when it knows, by the flag, that a waker set the deadline */
		turned = slept && !asleep;
		if
		:: turned -> turned = false;
#else
		if
		:: ended ->
#endif
			atomic { !locked[file] -> rd[file] = NONE; stopTimer() }
#ifdef WAKERKNOWS
			; stands = false
#endif
		:: else
		fi;
#endif

		/* turn: awake, in the critical section in which the emptying begins */
		CRITICAL {
#ifdef AWAKELATE	/* mutant: the flag is turned back only after the tables were emptied */
			atomic { inTurn = true };
#else
			atomic { asleep = false; inTurn = true };
#endif
			atomic {
#ifndef SPLIT
				assert(!slept || !claimed || WORK || news);	/* a waker in time has published before, so a turn is empty only by a late wake */
#endif
				assert(WITNESS != 1 || !ended || claimed || WORK || n);	/* witness: a turn that is empty by a late wake */
				left = posts; ended = false;
				slept = false; claimed = false; news = false;
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
		/* endTurn: adopt, and the old one is closed */
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
			shut[0] = true;
			atomic { refs[0] == 0 -> gone[0] = true; rg[0] = NIL; rd[0] = NONE; fresh[0] = false; forget(0) }
		:: true
		fi;
#endif
#endif
		skip
	od
}

/* ---- Close, from another goroutine, or never ---- */

active proctype closer() {
	RINGER;

	if
	:: true -> goto stays	/* never */
	:: true
	fi;
	CRITICAL {
		atomic { closing = true; announceEarly() };
		atomic { claim(won); withdraw(won) }
	};
	wake(won);
	!owned;			/* <-left: this goroutine is the loop now */
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
	atomic { armed = false; when = 0 };	/* alarm.stop */
#endif
#ifdef THREAD
	open[poller] = false;
#else
	shut[file] = true;
	atomic { refs[file] == 0 -> gone[file] = true; rg[file] = NIL; rd[file] = NONE; fresh[file] = false; forget(file) };
#endif
	assert(posts == 0);	/* whatever was accepted has run */
stays:	skip
}
