// Package event is an event loop with libevent's powers, for programs in which any goroutine may use it.
//
// # The model
//
// A [Loop] waits for many things at once and calls back what has happened, one callback after the other, on the goroutine
// that called [Loop.Run]. Whatever it waits for is an [Event]: a descriptor that becomes readable or writable or whose peer
// goes away, a timer, a signal, or something of the user's own that another goroutine reports with [Event.Activate]. An
// event waits from [Event.Add] to [Event.Del]; without [Persist] it is removed as its callback is chosen. Meanwhile
// [Event.SetConditions] changes what it waits for, or pauses it. Every source ends as the same thing, an active event in a
// queue by priority, so there is one order and one place that calls back.
//
// # Goroutines
//
// Every exported method may be called from any goroutine, callbacks included, unless its comment ends with "May block; not
// in a callback." One lock guards a loop's tables. It is held for table work only: never across a callback, a logger, a context's
// method or a system call that can wait. What a user replaces under the loop is the exception: a [Clock]'s Now and a [Poller]'s Add,
// Modify, Remove, FD and Name are called with it. Callbacks run on one goroutine at a time and need no lock among themselves. A method that
// would have to wait for its own loop finds that out and returns [ErrOnLoop] at once.
//
// # The order of a turn
//
//  1. The watchers of [Loop.OnPrepare] are called.
//  2. The loop looks at its descriptors. If none is ready, nothing is active and no timeout has passed, it sleeps until
//     one of these changes. Work from another goroutine ends the sleep. A loop that has not slept for 200 µs lets other goroutines
//     run first, so that loops and workers share the processors also while all of them are busy.
//  3. The watchers of [Loop.OnCheck] are called.
//  4. What the descriptors reported becomes active, then what timed out: the most urgent priority first, in each the earliest
//     deadline first and equal deadlines in the order of Add, in all as many as the turn may call. So an urgent timer that is due is
//     called in this turn, whatever else is due. An event that is ready and timed out is called once, with both.
//  5. The callbacks of the most urgent priority that has something active are called, in the order in which they became
//     active. Activations made meanwhile wait for the next turn, unless they are more urgent: then the turn ends. Less urgent
//     events wait until a turn finds nothing more urgent. [Budget] bounds what one turn may call. A callback that does many
//     things in a row asks [Loop.Interrupted] whether the turn is to end.
//
// Functions given to [Loop.Post] are called in step 5, at the loop's middle priority.
//
// # How long Run runs
//
// [Loop.Run] returns when nothing is left that could call back: no event is added, none is active, no Post waits and there
// is no [Loop.Ref]. [Loop.RunForever] does not. Both return earlier for [Loop.Exit] (at the end of a turn), [Loop.Break] (after the
// callback that runs), the end of their context and [Loop.Close]. Exit and Break that come before Run are kept for it. What was
// active and not called stays so for the next Run.
//
// # Panics
//
// A callback that panics or calls runtime.Goexit ends its Run; with [WithPanicHandler] a panic does not. The loop can be run again
// and closed: that callback was called, and what else was active, reported or posted is called by the next Run. In Close, all other
// functions that it has to call are called before the panic passes on. The same holds for a panic of a Clock, a logger or a context.
//
// # How a loop sleeps
//
// With [DriverPark], the default on Linux, a sleeping loop is a parked goroutine: its poller's descriptor is watched by the Go
// runtime's poller, and another goroutine wakes it as goroutines wake each other, without a system call of ours. [DriverThread]
// blocks a thread of its own in the kernel and is woken through an eventfd or a socketpair. Everything above the driver is
// the same code. A burst of work from other goroutines wakes a sleeping loop once, and a loop that is awake not at
// all; the protocol is checked exhaustively as a model, in docs/model.
//
// An idle Go process fires timers up to about a millisecond late; never early. Goroutines that burn processor time delay a
// parked loop as they delay any goroutine, up to 10 ms for each that stands before it: a GOMAXPROCS above their number helps.
//
// # Descriptors
//
// A descriptor stays its owner's: [Event.Del] comes before its close, and nothing here closes it. Who closes first breaks that
// contract, and the loop limits the damage as far as the kernel tells it: on epoll the stale registration is found when the
// event is deleted or the number is added again; the descriptor's events end with [ErrStale] from Del and [Event.Err], which is
// logged and counted. A registration that a duplicate of the closed descriptor keeps alive is got rid of by a new epoll
// set. poll(2) finds a closed number at the next look, and cannot tell one that is in use again; kqueue forgets a
// closed descriptor and reports nothing. A descriptor all of whose events are paused is not registered, so nothing tells of its
// close, nor that its number is in use again. Within a turn no stale readiness reaches a callback: what a callback deletes
// is never called.
//
// # What differs from libevent
//
// Changed on purpose:
//
//   - Break and Exit before Run are kept; in libevent a break before the loop is lost. Exit is not an event with a priority, so
//     nothing more urgent starves it, and an Exit that is still to come keeps no Run going.
//   - A callback's activations at its own priority run next turn, not in the same pass, so that an event that activates
//     itself does not keep the loop from its descriptors. There is no separate "active later".
//   - Timeouts count from the moment of Add and not from the turn's cached time, so they are never early. [Loop.Now] is the cached
//     time; there is no call to renew it. The clock is the precise one; there is no coarse option.
//   - Equal deadlines are called in the order of Add, always. Common timeouts are unnecessary: a deadline that moves away costs
//     one store, and no durations are declared beforehand.
//   - An event added while it is active is registered; libevent skips that.
//   - A timer or activation made by a prepare watcher counts for the look that follows.
//   - RunNonblock makes one turn; libevent's repeats until nothing is active, which a ready descriptor can keep up for ever.
//   - An added event's conditions can be changed, which in libevent takes a del, an assign and an add.
//   - Del never waits; DelWait does, with a context. There is no flag on the event for it. As in libevent, a callback that adds its
//     event again while another goroutine waits for it does not win.
//   - Signals reach every loop that asked, and each delivery that the system did not merge is a call, which counts for the budget. A
//     signal that was ignored before is ignored afterwards.
//   - Level- and edge-triggered events of one descriptor are refused, always and not only in a debug mode.
//   - A hang-up or reset is reported as Closed to who asked for it, besides Read and Write. HangUp waits for these alone.
//   - The set of changes is not cached between turns (libevent's changelist): adding from another goroutine takes effect at once.
//   - The environment chooses a backend and a driver by name (see [WithoutEnv]); libevent's takes methods away one by one.
//   - An event with a timeout counts as one added event, not two. [Loop.Events] returns all at once; there is no walk to stop early.
//   - The clock never goes back, by contract ([Clock]), so nothing is done against one that does. It may be negative.
//   - A loop is safe for concurrent use, always; there is no unlocked variant and no call to make it notifiable.
//
// Left out, since Go or its users have no need of it: allocators, user pointers and setters for an event's callback, descriptor
// and manner (closures, and [Loop.InitEvent] for memory that there is already), fork and reinit, debug modes, version queries,
// hints on the number of processors, IOCP, evport, devpoll and select. evbuffers, bufferevents, listeners and the protocols on
// them are not this package's business.
package event
