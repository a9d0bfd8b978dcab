// Package msgqueue carries messages from any goroutine to a callback on an event loop.
//
// # The model
//
// A [Queue] belongs to one [event.Loop]. Goroutines push messages of one type into it. The loop calls the queue's function with
// each message, one after the other, on its own goroutine, between its descriptors, timers and signals. So the loop alone can own a
// connection's state, without a lock, while workers that compute or block return their results through
// the queue. It uses only the exported API of package event: an event of its own, activated when messages wait.
//
// # The outcome of a message
//
//	Push ──> refused: ErrFull, ErrClosed. The message was not accepted.
//	  │
//	  └────> accepted ──> delivered: the function was called with it, once
//	                 └──> returned: by Close, or by a Shutdown that could not finish
//
// There is no other outcome. A message counts as delivered when its call begins, so if the call panics, the message is not
// delivered again. The other messages stay in the queue. They are delivered when the loop continues or is run again, or they are
// returned. In [Queue.Stats], Pushed is always Delivered + Returned + Len.
//
// Close takes effect at once, on any goroutine, the queue's own function included: no further call begins, and Close returns the
// remaining messages. Shutdown refuses new messages and lets the loop deliver the remaining ones first. A queue may be closed before its loop
// or after it. A loop that is closed first delivers nothing more: from its Close on Push returns ErrClosed, and the queue's own Close
// returns the waiting messages. A closed queue needs no further release. An open queue keeps its loop's Run going, as any added event
// does.
//
// # Order
//
// The messages of one goroutine are delivered in the order of its calls of Push, PushBatch and PushContext. A message that
// the function itself pushes follows all messages that wait. A batch stays together. Messages of different goroutines are ordered
// by when they acquired the queue's lock. Close returns messages in the same order.
//
// # Bounds
//
// The bound is exact. It applies to all messages that were accepted and whose delivery has not begun.
// Their number never exceeds the bound, and a Push does not fail while it is lower. If the queue is full,
// Push fails at once, and PushContext waits for room in the order of arrival. On the loop's own
// goroutine, which cannot wait for itself, PushContext returns [event.ErrOnLoop] instead. Memory grows with the number of messages and is
// released after a burst, except room for two messages or 64 KB of them. A delivered message is not kept alive.
//
// In each turn the loop delivers up to [Config].Budget messages, and none that came after the delivery began, so that neither producers nor
// a function that pushes to its own queue can prevent the loop from polling its descriptors. Delivery stops after a message if an event
// that is more urgent has become active, or the loop's Budget.Time has passed. A Break in the function takes effect after the message, as in
// any callback. [Config].Priority is the queue's priority among the events of its loop.
//
// # Waking the loop
//
// A Push into a queue that is not empty changes a few words under a lock that is never held during a call: the loop
// has been notified already. Only the first Push of a burst notifies the loop, after unlocking, and only a sleeping loop has to be
// woken, once. There is no byte per message or per transition, so no buffer can fill up: a wake is a flag that is set.
// In steady use nothing is allocated for messages of up to 4 KB, nor for larger ones that come one at a time.
//
// # Differences from event_msgqueue
//
// The queue of 2006 sent a byte through a socketpair whenever it changed from empty to not empty, under its lock, by a call that
// could block. This package keeps its good properties: one wake per burst, first in first out, no lock held in the callback, an exact
// bound, any value for a message, nil included. Its faults cannot occur here:
//
//   - A producer in step with the loop, or a callback that pushed to its own queue, filled the socket and stopped the program
//     for ever.
//   - Destroying waited for an empty queue by sleeping, for ever on the loop itself or if the loop did not run, and freed the
//     queue while its last callback ran. Close never waits; Shutdown waits for the last callback, with a context.
//   - A push into a destroyed queue used freed memory, and the remaining messages leaked. Here it returns ErrClosed, and the remaining
//     messages are returned.
//   - Full and out of memory were one error code, which its users ignored, and it was not possible to wait for room.
//   - All messages were delivered in one turn while other events waited. Here there is a budget.
//   - It had to be created before the loop ran, or on its thread. New and Close may be called anywhere.
//   - Memory was kept at its high-water mark, with the messages in it. There were no batches, priorities or counters.
package msgqueue
