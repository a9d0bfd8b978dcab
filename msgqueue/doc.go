// Package msgqueue carries messages from any goroutine to a callback on an event loop.
//
// # The model
//
// A [Queue] belongs to one [event.Loop]. Goroutines push messages of one type into it; the loop calls the queue's function with
// each of them, one after the other, on its own goroutine, between its descriptors, timers and signals. So a connection's
// state can belong to the loop alone, without a lock, while workers that compute or block hand their answers back through
// the queue. It is built on the loop's public face: an event of its own, activated when messages wait.
//
// # What becomes of a message
//
//	Push ──> refused: ErrFull, ErrClosed. Nothing was taken.
//	  │
//	  └────> accepted ──> delivered: the function was called with it, once
//	                 └──> handed back: by Close, or by a Shutdown that could not finish
//
// There is no third outcome. A message is delivered from the moment when its call begins; a call that panics has
// had its message. Then the rest stays in the queue, and is delivered when the loop goes on, or is run again, or is handed
// back. [Queue.Stats] shows the account at any moment: Pushed is Delivered + Returned + Len.
//
// Close is at once, from anywhere, the queue's own function included: the call that runs is the last, and the others are
// in Close's hands. Shutdown refuses what is new and lets the loop deliver the rest first. Close the queue before its loop,
// or after. A loop that is closed first delivers nothing more: from its Close on a Push is ErrClosed, and the queue's own Close
// hands back what waits. A queue that is closed is garbage; one that is open keeps its loop's Run going, as any added event
// does.
//
// # Order
//
// What one goroutine pushes is delivered in the order of its pushes, whichever of Push, PushBatch and PushContext it used; what
// the function itself pushes comes behind everything that waits. A batch stays together. Between goroutines the order is
// that in which they came to the queue's lock, and it is the order in which Close hands messages back.
//
// # Bounds
//
// The bound is exact. What counts is every message that was accepted and whose delivery has not begun, in whichever part of the
// queue it stands; it never exceeds the bound, and a Push that finds it lower does not fail for want of room. Who pushes into
// a full queue chooses: Push says so at once, PushContext waits for room in the order of arrival. The function's own
// goroutine cannot wait for itself, so there PushContext returns [event.ErrOnLoop]. Memory grows with what waits and is given
// back after a burst, but for room for two messages or 64 KB of them; a delivered message is not kept alive.
//
// In each turn the loop delivers up to [Config].Budget messages, and none that came after it began, so that neither producers nor
// a function that pushes to its own queue keep the loop from its descriptors. It stops after the message in which something more
// urgent becomes active, or the loop's Budget.Time passes. Break, called in the function, takes effect after the message, as after
// any callback. [Config].Priority places the queue among the other events of its loop.
//
// # The wake
//
// A Push that finds messages waiting changes a few words under a lock that is never held across a call, and is done: the loop
// has been told. Only the first Push of a burst tells it, after unlocking, and only a loop that sleeps has to be
// woken for that, once. There is no byte per message or per transition, so nothing can fill up: a wake is a flag that is set.
// In steady use nothing is allocated for messages of up to 4 KB, nor for larger ones that come one at a time.
//
// # What differs from event_msgqueue
//
// The queue of 2006 sent a byte through a socketpair whenever it turned from empty to not empty, under its lock, by a call that
// could block. What is good in it is kept: one wake per burst, first in first out, no lock held in the callback, an exact
// bound, any value for a message, nil included. What went wrong cannot happen here:
//
//   - A producer in step with the loop, or a callback that pushes to its own queue, filled the socket and stopped the program for
//     good. Here such a pair runs for ever.
//   - Destroying waited for an empty queue by sleeping, for ever on the loop itself or if the loop did not run, and freed the
//     queue while its last callback ran. Close never waits; Shutdown waits for the last callback, with a context.
//   - A push into a destroyed queue touched freed memory, and what was left in it leaked. Here it is ErrClosed, and what is left is
//     handed back.
//   - Full and out of memory were one code that its users ignored, and one could not wait for room.
//   - Everything was delivered in one go while other events starved. Here there is a budget.
//   - It had to be made before the loop ran, or on its thread. New and Close may be called anywhere.
//   - Memory was kept at its high-water mark, with the messages in it. There was no batch, priority or count.
package msgqueue
