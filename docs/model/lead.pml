/*
 * The leadership of a loop of package server, and the parts of the pool of workers and of the process's tick on which it depends.
 * README.md lists the function for each step; check.sh runs every variant and every mutant.
 *
 * Variants (-D):
 *   W           workers
 *   R, HANGS    requests, of which the first HANGS have handlers that block until the loop has handled all else that it can
 *   OFFERS      jobs that the pool is given by others than the loop
 *   BLOCKS      calls of Reply.Blocking, each by another goroutine and at any time
 *   GOEXITS     handlers of the leader that call runtime.Goexit
 *   LATE        ticks that were late
 *   CLOSES      the server may be closed at any time, or never
 *   NG          goroutines of the pool that exist at once; an assertion fails if they are too few
 *   ONETICK     the tick takes the leadership at its first sight of a handler
 *   RESTS       the leader and another loop end the tick before they sleep, step by step; without, the tick ends itself only
 *   OTHER       with RESTS: handlers of the other loop, each of which may block until the leadership of that loop is taken
 *
 * Each mutant (-D) breaks one rule. A witness (-DWITNESS=n) fails when a certain situation is reached, which shows that the search
 * includes it. Comments mark both.
 */

#ifndef W
#define W 1
#endif
#ifndef R
#define R 2
#endif
#ifndef HANGS
#define HANGS 1
#endif
#ifndef OFFERS
#define OFFERS 0
#endif
#ifndef BLOCKS
#define BLOCKS 0
#endif
#ifndef GOEXITS
#define GOEXITS 0
#endif
#ifndef LATE
#define LATE 0
#endif
#ifndef OTHER
#define OTHER 1
#endif
#ifndef NG
#define NG 4
#endif
#ifndef WITNESS
#define WITNESS 0
#endif

#define NONE 255

/* ---- requests ---- */

#define NEW 0       /* its bytes have not arrived */
#define ARRIVED 1   /* the loop's descriptor is ready */
#define INLINE 2    /* in lead.inline */
#define QUEUED 3    /* in the pool's queue */
#define BACKLOG 4   /* the pool is closed and did not take it */
#define POPPED 5    /* taken from lead.inline or the queue */
#define RUNNING 6   /* its handler runs */
#define ENDED 7     /* its connection is in the loop's queue */
#define DONE 8      /* the loop has taken it back, with its answer */
#define ACTIVE 9    /* a poll has reported its descriptor, whose callback has not been called */
#define FOUND 10    /* in turnRequests */

byte st[R];
byte cnt[11];       /* the number of requests in each state ... */
byte rest[11];      /* ... and of those that do not hang */
bool ran[R];        /* its handler has begun */

inline to(r, s) {
	cnt[st[r]]--; cnt[s]++;
	if
	:: r >= HANGS -> rest[st[r]]--; rest[s]++
	:: else
	fi;
	st[r] = s
}

/* first sets i to the first request in a state. There is one. */
inline first(s) {
	i = 0;
	do
	:: st[i] != s -> i++
	:: else -> break
	od
}

/* A handler that hangs returns when every other request is answered or waits for a worker: so the loop does not depend on it. */
#define RELEASED (loopClosed || rest[NEW] + rest[ARRIVED] + rest[ACTIVE] + rest[FOUND] + rest[INLINE] + rest[POPPED] + rest[RUNNING] + rest[ENDED] == 0)

/* ---- the word, and the leader's state ---- */

#define TURNING 0
#define HANDLER 1
#define TAKEN 2
#define OVER 3

byte number;        /* lead.word: the number ... */
byte state;         /* ... and the state, which change together */
byte word[R];       /* reply.word of each request; 0 for none */
byte running = NONE; /* lead.running, which the successor reads; for the request of the route */
bool wantTurn, stop, over;
bool suspended;     /* of the event loop: the turn is to be continued */
bool queueActive;   /* the event of the loop's queue is active in the turn that is suspended */
bool task;          /* the task of stopLeading is in the loop's queue */
bool loopClosed;    /* Owner.Close has run the loop's OnClose functions */

#ifdef NONUMBER     /* mutant: the word has no number: it is the same for each handler */
#define NEXT 1
#else
#define NEXT (number + 1)
#endif

/* Variables for the properties. The protocol does not read them. */
byte owner = NONE;  /* the goroutine that has the leadership */
bool taking;        /* it was taken, and the goroutine that has taken it calls Replace next */
bool coming = true; /* a goroutine was chosen that begins to lead */
byte loser = NONE;  /* the request whose handler has lost it */
byte met;           /* ticks that have met the current handler */
byte handlers;      /* handlers and other jobs that run */
bool owed;          /* a tick has met a handler of the leader, and no poll has followed */

/* Only the leader uses the loop. */
#define use() assert(owner == g)

/* Unless the loop is closed, one goroutine leads, or one is about to. */
active proctype monitor() {
end:	atomic { !over && owner == NONE && !taking && !coming -> assert(false) }
}

/* ---- the pool: internal/workpool. Its lock makes each step atomic ---- */

byte queued;        /* p.len: requests and other jobs */
byte others;        /* those of them that are not requests */
byte members = W;
byte jobs;          /* p.running */
byte alive = W;
byte replaced;      /* p.replaced */
bool closed, standby;
bool idle[NG], wake[NG], mustLead[NG];
byte nIdle;
bool exists[NG], started[NG]; /* a goroutine; go was called for it, and it has not begun */

#define BUSY (jobs >= W)
#ifdef OVERLIMIT    /* mutant: workers take jobs while goroutines that have led run as many as there are workers */
#define MAYTAKE (queued > 0)
#else
#define MAYTAKE (queued > 0 && jobs < W)
#endif
#define ALLRUN (queued == 0 && closed)

/* takeIdle removes a worker from p.idle: w, or none. */
inline takeIdle(w) {
	w = 0;
	do
	:: w < NG && !idle[w] -> w++
	:: else -> break
	od;
	if
	:: w == NG -> w = NONE
	:: else -> idle[w] = false; nIdle--
	fi
}

/* nextStandby */
inline nextStandby(w) {
	w = NONE;
	if
	:: !standby && nIdle > 0 && (MAYTAKE || ALLRUN) -> standby = true; takeIdle(w)
	:: else
	fi
}

/* wakeUp, after the lock */
inline wakeUp(w) {
	d_step {
		if
		:: w != NONE -> assert(!wake[w]); wake[w] = true; w = NONE	/* the channel has room */
		:: else
		fi
	}
}

/* Submit */
inline submit(r) {
	if
	:: closed -> to(r, BACKLOG)
	:: else -> to(r, QUEUED); queued++; nextStandby(w)
	fi
}

/* go p.work(newWorker()), with a function that leads */
inline spawn() {
	i = 0;
	do
	:: i < NG && exists[i] -> i++
	:: else -> break
	od;
	assert(i < NG);
	exists[i] = true; started[i] = true; mustLead[i] = true
}

/* Replace */
inline replace() {
	d_step {
#ifndef NOTCOUNTED	/* mutant: the handler that is replaced is not counted as a job */
		jobs++;
#endif
		replaced++;
		takeIdle(w);
		if
		:: w != NONE -> members--; mustLead[w] = true
		:: else -> alive++
		fi;
		taking = false; coming = true
	};
	if
	:: w != NONE -> wakeUp(w)
	:: else -> d_step { spawn(); i = 0 }
	fi
}

/* takeOver: the compare-and-swap, then Replace */
inline took() {
	state = TAKEN; taking = true; owner = NONE; loser = running
}

inline takeOver(v) {
#if defined(REPLACEFIRST)	/* mutant: the successor is started before the swap */
	if
	:: number == v && state == HANDLER ->
		replace();
		atomic { if :: number == v && state == HANDLER -> state = TAKEN; owner = NONE; loser = running :: else fi }
	:: else
	fi
#elif defined(TAKESTORES)	/* mutant: a load and a store instead of the compare-and-swap */
	if
	:: number == v && state == HANDLER ->
		d_step { took() };
		replace()
	:: else
	fi
#else
	if
	:: atomic { number == v && state == HANDLER -> took() };
		replace()
	:: else
	fi
#endif
}

/* ---- a goroutine of the pool ---- */

inline beginHandler(r) {
	d_step {
		assert(st[r] == POPPED && !ran[r]);	/* never run twice */
		ran[r] = true; to(r, RUNNING);
		handlers++;
		assert(handlers <= W + 1)	/* as many as there are workers and loops */
	}
}

/* in.end and Conn.enqueue on a worker: into the loop's queue; or doLate when the loop has ended. */
inline enqueue(r) {
	d_step {
		assert(st[r] == RUNNING);
		if
		:: loopClosed -> to(r, DONE)
		:: else -> to(r, ENDED)
		fi
	}
}

/* ---- tick.Process: Use and Rest ---- */

#define FREE 0
#define PENDING 1
#define USED 2
byte pending;
bool armed;         /* the timer is pending */
byte fires;         /* calls of fire that have begun, and do not hold t.mu */
bool locked;        /* t.mu */

#ifndef RESTS
#define useTick(alone) d_step { pending = USED; armed = true }
#else
/* Use. Whether this is the first time in a period is not modelled: alone becomes any value if it makes the tick pending. */
inline useTick(alone) {
	if
	:: atomic { pending != FREE -> pending = USED }	/* use */
	:: atomic { pending == FREE -> skip };
		atomic {	/* start */
			!locked ->
			if
			:: pending == FREE -> pending = USED; armed = true;
				if
				:: alone = true
				:: true
				fi
			:: else
			fi
		}
	fi
}

byte otherState;    /* the state in the word of the other loop ... */
byte otherNumber;   /* ... and its number */

/* Rest */
inline restTick(busy) {
#ifndef RESTUNLOCKED	/* mutant: it does not lock */
	atomic { !locked -> locked = true };
#endif
#ifdef RESTLOOKSFIRST	/* mutant: it asks the watchers before it changes the state */
	d_step { busy = state == HANDLER || otherState == HANDLER };
#endif
	if
	:: atomic { pending == USED -> pending = FREE };
#if !defined(RESTLOOKSFIRST) && !defined(RESTBLIND)	/* mutant: it does not ask them */
		d_step { busy = state == HANDLER };
		d_step { busy = busy || otherState == HANDLER };
#endif
		assert(WITNESS != 4 || !busy);	/* witness: a handler runs on another loop */
		if
		:: busy -> pending = USED
		:: else -> armed = false
		fi
	:: atomic { pending != USED -> skip }
	fi;
	d_step {
		busy = false;
#ifndef RESTUNLOCKED
		locked = false
#endif
	}
}
#endif

byte exits;

proctype goroutine(byte g) {
	byte r, my, w = NONE, i;
	byte left;
	bool did, woken, leaves, lost, polls, rests;

begin:
end:	atomic { started[g] -> started[g] = false };
work:	if
	:: atomic { mustLead[g] -> mustLead[g] = false; woken = false; did = false }; goto leads
	:: else
	fi;

	/* take */
	r = NONE;
	atomic {
		if :: did -> jobs--; did = false :: else fi;
		if :: woken -> standby = false; woken = false :: else fi;
		if
#ifndef CLOSEDLATE
		:: ALLRUN -> nextStandby(w); alive--; exists[g] = false; goto gone	/* over, leave */
		:: !ALLRUN && !MAYTAKE -> idle[g] = true; nIdle++; goto waits
		:: !ALLRUN && MAYTAKE ->
#else		/* mutant: a worker looks at closed after it has become idle */
		:: !MAYTAKE && closed -> alive--; exists[g] = false; goto gone
		:: !MAYTAKE && !closed -> idle[g] = true; nIdle++; goto unlocked
		:: MAYTAKE ->
#endif
			jobs++; queued--;
			if
			:: queued + 1 > others -> first(QUEUED); r = i; i = 0; to(r, POPPED)
			:: others > 0 -> others--
			fi;
			nextStandby(w)
		fi
	};
	wakeUp(w);
	/* j.Run */
	if
	:: r != NONE ->
		beginHandler(r);
		if
		:: r < HANGS -> RELEASED
		:: else
		fi;
		d_step { handlers--; did = true };
		enqueue(r)
	:: else ->
		d_step { handlers++; assert(handlers <= W + 1) };
		d_step { handlers--; did = true }
	fi;
	goto work;

#ifdef CLOSEDLATE
unlocked:
	if
	:: closed -> atomic { alive--; exists[g] = false }; goto gone
	:: else
	fi;
#endif
waits:
endw:	atomic { wake[g] -> wake[g] = false; woken = !mustLead[g] };
	goto work;

gone:	wakeUp(w);
	goto begin;

	/* leads; beginLeading */
leads:	atomic {
		assert(owner == NONE && coming);	/* never two leaders */
		coming = false; owner = g;
		assert(state == TURNING || state == TAKEN && running == loser);	/* it blames the handler that has lost */
		assert(WITNESS != 6 || !suspended);	/* witness: a successor continues a turn */
		state = TURNING; running = NONE; loser = NONE; lost = false; r = NONE;
#ifndef SUSPENDEDUNREAD	/* mutant: a successor takes the turn that it continues for a new one */
		polls = !suspended
#else
		polls = true
#endif
	};

	/* runInline */
list:	left = cnt[INLINE];
	do
	:: left > 0 && !wantTurn ->
		d_step {
			use();
			assert(cnt[INLINE] > 0);	/* the list is as the last leader has left it */
			first(INLINE); r = i; i = 0; left--;
#ifndef POPLATE			/* mutant: a request is taken from the list when its handler has returned */
			to(r, POPPED)
#endif
		};
		if
		:: BUSY -> d_step { use(); submit(r) }; wakeUp(w)	/* giveToWorkers */
		:: else ->
			/* call */
			d_step {
				use(); running = r;
				assert(!owed);			/* a tick that has met a handler is followed by a poll */
				assert(cnt[FOUND] == 0)		/* no request for the workers waits for a handler of the leader */
			};
#ifdef USEFIRST			/* mutant: the tick is started before the word says that a handler runs */
			useTick(rests);
#endif
			d_step { my = NEXT; word[r] = my };
			d_step { number = my; state = HANDLER; met = 0 };
#ifndef USEFIRST
			useTick(rests);
#endif
#ifdef POPLATE
			d_step { assert(!ran[r]); ran[r] = true; handlers++ };
#else
			beginHandler(r);
#endif
			if
			:: r < HANGS -> RELEASED
			:: else
			fi;
			atomic {
				handlers--;
				if
				:: exits < GOEXITS -> exits++; leaves = true
				:: true
				fi
			};
			/* leaveHandler. The Reply keeps the word. */
#ifdef RETURNSTORES		/* mutant: a store instead of the compare-and-swap */
			lost = state == TAKEN;
			if :: !lost -> state = TURNING :: else fi;
#else
			d_step {
				lost = !(number == my && state == HANDLER);
				if :: !lost -> state = TURNING :: else fi
			};
#endif
			my = 0;
#ifdef POPLATE
			to(r, RUNNING);
#endif
			if
			:: lost ->
				assert(WITNESS != 1);	/* witness: a handler has lost the leadership */
				assert(WITNESS != 2 || r < HANGS);	/* witness: a quick one has */
				assert(WITNESS != 3 || !leaves);	/* witness: one has that calls Goexit then */
				goto loses
			:: else ->
				d_step { use(); running = NONE };
				if
				:: leaves ->	/* exit: the queue, then another goroutine leads */
					leaves = false;
#ifndef FINISHEDLOST		/* mutant: the connection that was to be served is forgotten */
					enqueue(r);
#endif
#ifndef NOSUCCESSOR		/* mutant: no goroutine is started */
					d_step { owner = NONE; coming = true; exists[g] = false; spawn(); i = 0; r = NONE };
#else
					d_step { owner = NONE; exists[g] = false; r = NONE };
#endif
					goto begin
				:: else ->	/* serveFinished */
					d_step { use(); assert(st[r] == RUNNING); to(r, DONE); r = NONE }
				fi
			fi
		fi
	:: else -> break
	od;
	left = 0;
	if
#ifdef STOPUNREAD	/* mutant: a successor does not read stop, which the first leader does */
	:: stop && g == W -> goto ends
	:: !stop || g != W
#else
	:: stop -> goto ends
	:: else
#endif
	fi;
#ifdef RESTS
	if
	:: rests && polls && cnt[INLINE] == 0 -> rests = false; restTick(leaves)
	:: else
	fi;
#endif
	/* Turn. A new one sleeps if no request is in the list and no event is active, then it polls. */
	if
#ifdef SUSPENDEDSLEEPS	/* mutant: the turn that continues a suspended one sleeps, too */
	:: true ->
#else
	:: suspended
	:: else ->
#endif
		if
		:: cnt[INLINE] > 0
		:: else ->
endt:			cnt[INLINE] > 0 || cnt[ARRIVED] > 0 || cnt[ENDED] > 0 || task
		fi;
		d_step {
			use();
			owed = false;
			i = 0;
			do
			:: i < R -> if :: st[i] == ARRIVED -> to(i, ACTIVE) :: else fi; i++
			:: else -> break
			od;
			i = 0;
			queueActive = cnt[ENDED] > 0 || task
		}
	fi;
	suspended = false;
	do
	:: queueActive -> atomic {	/* serve */
			use();
			queueActive = false; task = false;
			do
			:: cnt[ENDED] > 0 -> first(ENDED); to(i, DONE); i = 0
			:: else -> break
			od
		}
	:: cnt[ACTIVE] > 0 ->
		atomic {	/* ready, suspendForRequest, with any history */
			use();
			first(ACTIVE); r = i; i = 0;
			if
			:: !wantTurn && !BUSY -> to(r, INLINE);
				if
				:: cnt[ACTIVE] > 0 || queueActive -> suspended = true	/* Suspend; few are active */
				:: true
				fi
			:: to(r, FOUND)
			fi;
			r = NONE
		};
		if
		:: suspended -> break
		:: else
		fi
	:: !queueActive && cnt[ACTIVE] == 0 -> break
	od;
#ifdef FOUNDKEPT	/* mutant: endTurn is called only when the turn is over */
	if
	:: suspended -> goto turned
	:: else
	fi;
#endif
	do	/* endTurn, distribute */
	:: cnt[FOUND] > 0 ->
		atomic {
			use();
			first(FOUND); r = i; i = 0;
			if
			:: !BUSY -> to(r, INLINE)
			:: submit(r)
			fi;
			r = NONE
		};
		wakeUp(w)
	:: else -> break
	od;
turned:	if
#ifdef TURNFORGOTTEN	/* mutant: a turn that continues one resets wantTurn, too */
	:: true -> wantTurn = false
#else
	:: polls -> wantTurn = false
	:: else
#endif
	fi;
	polls = !suspended;
	goto list;

ends:	skip;
	do
	:: cnt[INLINE] > 0 -> atomic { use(); first(INLINE); r = i; i = 0; submit(r); r = NONE }; wakeUp(w)
	:: else -> break
	od;
	atomic { use(); state = OVER; over = true; owner = NONE; exists[g] = false };
	goto begin;

	/* The leadership was taken from it: in.end as a worker, rejoin; Quit is the same after Goexit. */
loses:	skip;
#if defined(ENDLOST)	/* mutant: it leaves its connection in ld.finished, as a leader */
#elif defined(SERVESLOST)	/* mutant: it serves its connection itself */
	d_step { use(); to(r, DONE) };
#else
	enqueue(r);
#endif
#ifdef RUNSREST		/* mutant: it runs the rest of the list */
	if
	:: left > 0 -> lost = false; goto list
	:: else
	fi;
#endif
#ifdef NOQUIT		/* mutant: after Goexit the pool is not told */
	if
	:: leaves -> leaves = false; exists[g] = false; goto begin
	:: else
	fi;
#endif
	atomic { r = NONE; left = 0; lost = false; leaves = false; polls = false; rests = false };
#ifdef REJOINSEARLY	/* mutant: it does not wait for Replace */
	replaced--;
#else
	atomic { replaced > 0 -> replaced-- };
#endif
	if
	:: atomic { members < W -> members++; did = true }; goto work
	:: atomic {
		members >= W -> jobs--;
#ifndef NOWAKE		/* mutant: the idle workers are not told that one more job may run */
		nextStandby(w);
#endif
		alive--; exists[g] = false
	   };
	   goto gone
	fi
}

/* ---- the tick: internal/tick, and loop.Tick ---- */

bool watched = true;

proctype tick() {
	byte v, s, seen, w = NONE, i, lates;
#ifdef RESTS
	byte otherSeen;
#endif
	bool busy;

end:	do
#ifndef RESTS
	:: atomic { armed && watched -> armed = false; locked = true };
#else
	:: atomic { armed -> armed = false; fires++ };	/* the time of the timer has come */
	:: atomic { fires > 0 && !locked -> fires--; locked = true };
	   if
#ifndef FIRESEARLY	/* mutant: it does not look at due */
	   :: pending == FREE || armed -> assert(WITNESS != 5); locked = false; goto end	/* witness: Rest was faster */
#else
	   :: pending == FREE -> locked = false; goto end
#endif
	   :: else
	   fi;
	   assert(!armed);	/* not twice in a period */
	   atomic {	/* Tick of the other loop */
		if
		:: otherState != HANDLER -> otherSeen = 0
		:: else ->
			busy = true;
			if
			:: otherNumber == otherSeen -> otherState = TAKEN; otherSeen = 0
			:: else -> otherSeen = otherNumber
			fi
		fi
	   };
#endif
	   d_step { v = number; s = state; if :: s == HANDLER -> met++ :: else fi };
	   d_step { wantTurn = true; if :: number == v && state == HANDLER -> owed = true :: else fi };
	   busy = busy || s == HANDLER;
	   if
	   :: s != HANDLER -> seen = 0
	   :: s == HANDLER && lates < LATE -> lates++; seen = 0
#ifdef ONETICK
	   :: s == HANDLER ->
#else
	   :: s == HANDLER && v != seen -> seen = v
	   :: s == HANDLER && v == seen ->
		assert(number != v || state != HANDLER || met >= 2);	/* two ticks have met the handler that loses */
#endif
		takeOver(v);
		seen = 0
	   fi;
	   d_step {		/* fire */
		v = 0; s = 0; locked = false;
		if
		:: pending == USED -> pending = PENDING; armed = true
		:: pending == PENDING && busy -> armed = true
		:: pending == PENDING && !busy -> pending = FREE
		:: pending == FREE -> assert(false)	/* its loop would not end */
		fi;
		busy = false
	   }
	od
}

/* ---- another loop, of which only the word is modelled ---- */

#ifdef RESTS
proctype other() {
	byte n;
	bool rests, busy;

	do
	:: n < OTHER ->
		d_step { n++; otherNumber = n; otherState = HANDLER };
		useTick(rests);
		if
		:: true -> otherState == TAKEN	/* it hangs. Its successor does not call Rest for it */
		:: atomic { otherState == HANDLER -> otherState = TURNING };
			if
			:: rests -> restTick(busy)
			:: else
			fi
		:: atomic { otherState == TAKEN -> skip }
		fi;
		d_step { otherState = TURNING; rests = false }
	:: else -> break
	od
}
#endif

/* ---- Reply.Blocking: another goroutine has a Reply, and calls it at any time ---- */

#if BLOCKS > 0
proctype blocker() {
	byte v, w = NONE, i, n;

	do
	:: n < BLOCKS ->
		n++;
		atomic {
			if
			:: v = word[0]
			:: v = word[R - 1]
			fi
		};
		if
		:: v != 0 -> takeOver(v); v = 0
		:: else
		fi
	:: else -> break
	od
}
#endif

/* ---- jobs of others: Offer ---- */

#if OFFERS > 0
proctype offers() {
	byte n, w = NONE;

	do
	:: n < OFFERS ->
		d_step {
			n++;
			if
			:: !closed -> queued++; others++; nextStandby(w)
			:: else
			fi
		};
		wakeUp(w)
	:: else -> break
	od
}
#endif

/* ---- the requests arrive, and each is answered ---- */

proctype clients() {
	byte n, i;

	do
	:: n < R ->
		atomic {
			if	/* in any order */
			:: st[0] == NEW -> i = 0
#if R > 1
			:: st[1] == NEW -> i = 1
#endif
#if R > 2
			:: st[2] == NEW -> i = 2
#endif
			fi;
			if
			:: loopClosed -> to(i, DONE)	/* the connection ends */
			:: else -> to(i, ARRIVED)
			fi;
			n++; i = 0
		}
	:: else -> break
	od;
	cnt[DONE] == R
}

/* ---- Server.finish: pool.Close, stopLeading, Owner.Close, pool.Wait ---- */

#ifdef CLOSES
proctype closer() {
	byte w = NONE, i;

	if
	:: true -> goto stays	/* never */
	:: true
	fi;
#ifdef CLOSEDLATE
	atomic { closed = true; i = 0; do :: i < NG -> if :: idle[i] -> idle[i] = false; nIdle--; wake[i] = true :: else fi; i++ :: else -> break od; i = 0 };
#else
	d_step { closed = true; nextStandby(w) };
	wakeUp(w);
#endif
	stop = true;
	task = true;
	over;
	d_step { assert(owner == NONE && !taking && !coming) };
	atomic { !locked -> watched = false };	/* Unwatch */
	d_step {
		loopClosed = true;
		i = 0;
		do
		:: i < R ->
			assert(st[i] != INLINE && st[i] != FOUND);	/* end and endTurn have given them to the workers */
			if
			:: st[i] == ARRIVED || st[i] == ACTIVE || st[i] == BACKLOG || st[i] == ENDED -> to(i, DONE)
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0
	};
	alive == 0;		/* Wait */
	assert(queued == 0 && jobs == 0 && handlers == 0);
stays:	skip
}
#endif

init {
	byte i;

	d_step {
		cnt[NEW] = R; rest[NEW] = R - HANGS;
		do
		:: i < W -> exists[i] = true; started[i] = true; i++
		:: else -> break
		od;
		exists[W] = true; started[W] = true; mustLead[W] = true;
		i = 0
	};
	atomic {
		do
		:: i < NG -> run goroutine(i); i++
		:: else -> break
		od;
		run tick();
		run clients();
#if BLOCKS > 0
		run blocker();
#endif
#if OFFERS > 0
		run offers();
#endif
#ifdef RESTS
		run other();
#endif
#ifdef CLOSES
		run closer();
#endif
		i = 0
	}
}
