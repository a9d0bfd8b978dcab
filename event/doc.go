// Package event is an event loop with the functions of libevent, for programs in which any goroutine may use it.
//
// # The model
//
// A [Loop] waits for many sources of events at once and calls callbacks, one after the other, on the goroutine
// that called [Loop.Run]. Each thing it waits for is an [Event]: a descriptor that becomes readable or writable or whose peer
// closes the connection, a timer, a signal, or an activation by another goroutine with [Event.Activate]. An
// event waits from [Event.Add] to [Event.Del]; without [Persist] it is removed before its callback is called. While it waits,
// [Event.SetConditions] changes or pauses its conditions. All sources activate events, which are queued by priority, so
// there is one order of calls and one place that makes them.
//
// NewEvent, NewSignal, NewTimer and NewTicker make events that are not added; Add starts them. AfterFunc and Once make and add an
// event in one step.
//
// # Goroutines
//
// Every exported method may be called from any goroutine, including callbacks, unless its comment ends with "May block; not
// in a callback." One lock guards a loop's tables. It is held only for operations on the tables, and never during a callback, a
// call of a logger or a context, or a system call that can wait. The exceptions are a user's [Clock] and [Poller]: Now of a Clock, and Add,
// Modify, Remove, FD and Name of a Poller, are called with the lock held. Callbacks run on one goroutine at a time, so data that only
// callbacks use needs no lock. A method that would have to wait for the loop on whose goroutine it is called returns [ErrOnLoop] at once.
//
// # The order of a turn
//
//  1. The watchers of [Loop.OnPrepare] are called.
//  2. The loop polls its descriptors. If none is ready, no event is active and no timeout has passed, it sleeps until
//     one of these changes. Work from another goroutine ends the sleep. A loop that has not slept for 200 µs first lets other goroutines
//     run, so that loops and workers share the processors while all of them are busy.
//  3. The watchers of [Loop.OnCheck] are called.
//  4. The events of reported descriptors become active, then those whose timeouts have passed: the most urgent priority first, within it
//     the earliest deadline first, and equal deadlines in the order of Add, as many in all as the turn may call. So an urgent timer that is
//     due is called in this turn, whatever else is due. An event that is ready and has timed out is called once, with both flags.
//  5. The active events of the most urgent priority are called, in the order in which they became
//     active. Events that become active meanwhile wait for the next turn. If one of them is more urgent, the turn ends. Less urgent
//     events wait until a turn finds no more urgent ones. [Budget] bounds the number of calls in a turn. A callback that performs many
//     operations can call [Loop.Interrupted] between them to find out whether the turn should end.
//  6. The watchers of [Loop.OnTurnEnd] are called.
//
// Functions given to [Loop.Post] are called in step 5, at the loop's middle priority.
//
// # When Run returns
//
// [Loop.Run] returns when no callback can become active: no event is added, none is active, no function of Post waits and there
// is no [Loop.Ref]. [Loop.RunForever] does not. Both return earlier because of [Loop.Exit] (at the end of a turn), [Loop.Break] (after the
// running callback), the end of their context, or [Loop.Close]. Calls of Exit and Break before Run are kept for it.
// Active events that were not called remain active for the next Run.
//
// # Panics
//
// If a callback panics or calls runtime.Goexit, its Run ends; with [Config].PanicHandler a panic does not end it. The loop can be run again
// and closed. The failed callback counts as called; other events that were active or reported, and posted functions, are called by the
// next Run. Close calls all functions that it has to call before it lets the panic of one of them pass. The same holds for a panic of a Clock, a
// logger or a context.
//
// # How a loop sleeps
//
// With [DriverPark], the default on Linux, a sleeping loop is a parked goroutine: the Go runtime's poller watches its poller's descriptor,
// and another goroutine wakes it as goroutines wake each other, without a system call by this package. [DriverThread]
// blocks a locked thread in the kernel and is woken through an eventfd or a socketpair. [DriverAdaptive] parks, and blocks its
// thread while the loop is busy, a poll reports several descriptors, and no other goroutine wakes it. Everything above the driver is
// the same code. A burst of work from other goroutines wakes a sleeping loop once. A loop that is awake is not woken.
// The protocol is verified exhaustively by model checking, in docs/model.
//
// An idle Go process fires timers up to about a millisecond late, never early. Goroutines that use processor time delay a
// parked loop as they delay any goroutine, by up to 10 ms for each that is queued before it. A GOMAXPROCS above their number avoids this.
//
// # Descriptors
//
// A descriptor belongs to the caller: call [Event.Del] before closing it. This package closes no descriptor of its users. If a descriptor is
// closed before Del, the loop limits the damage as far as the kernel allows. On epoll, the stale registration is found when the
// event is deleted or the number is added again; the descriptor's events then end with [ErrStale] from Del and [Event.Err], which is
// logged and counted. If a duplicate of the closed descriptor keeps the registration, the loop replaces its epoll
// set. poll(2) finds a closed number at the next poll, but cannot detect that a number is in use again. kqueue removes the
// registration of a closed descriptor and reports nothing. A descriptor all of whose events are paused is not registered, so neither
// its close nor the reuse of its number is detected. Within a turn no stale readiness reaches a callback: an event that a callback deletes
// is not called.
//
// # Differences from libevent
//
// Changed on purpose:
//
//   - Break and Exit before Run are kept; libevent loses a break before the loop. Exit is not an event with a priority, so
//     no more urgent event delays it, and a pending Exit does not keep a Run going.
//   - If a callback activates events of its own priority, they are called in the next turn, so an event that activates
//     itself does not prevent the loop from polling. There is no separate "active later".
//   - Timeouts count from the time of Add and not from the turn's cached time, so they are never early. [Loop.Now] is the cached
//     time; it cannot be updated within a turn. The precise clock is always used.
//   - Equal deadlines are called in the order of Add. Common timeouts are unnecessary: postponing a deadline takes
//     one store, and no durations are declared in advance.
//   - An event added while it is active is registered; libevent skips that.
//   - Timers and activations made by a prepare watcher apply to the following poll.
//   - RunNonblock makes one turn; libevent repeats until no event is active, which a ready descriptor can prevent for ever.
//   - The conditions of an added event can be changed; libevent needs a del, an assign and an add.
//   - Del never waits; DelWait does, with a context. There is no flag of the event for it. As in libevent, DelWait prevails over a callback
//     that adds its event again.
//   - A signal reaches every loop with an event for it, and each delivery that the system did not merge is one call, which counts for the
//     budget. A signal that was ignored before is ignored again afterwards.
//   - Level- and edge-triggered events of one descriptor are refused always, not only in a debug mode.
//   - A hang-up or reset is reported as Closed to events that wait for it, besides Read and Write.
//     HangUp is for these alone.
//   - Changes are not cached between turns (libevent's changelist): an Add from another goroutine takes effect at once.
//   - The environment can choose a backend and a driver by name (see [Config].IgnoreEnv); in libevent it disables methods one by one.
//   - An event with a timeout counts as one added event, not two. [Loop.Events] returns all events at once.
//   - A [Clock] must never go back, so there is no protection against one that does. It may be negative.
//   - A loop is always safe for concurrent use. There is no unlocked variant and no call to make it notifiable.
//
// Left out, since Go or its users do not need it: allocators, user pointers and setters for an event's callback, descriptor
// and flags (use closures, and [Loop.InitEvent] for an Event in existing memory), fork and reinit, debug modes, version queries,
// hints on the number of processors, IOCP, evport, devpoll and select. evbuffers, bufferevents, listeners and the protocols based on
// them are outside the scope of this package.
package event
