// Package outq is a connection's output: a FIFO of bytes that wait to be written to a socket.
//
// # The model
//
// A [Queue] is a sequence of bytes and of marks between them. The bytes come from copies ([Queue.Append]), from the user's own
// slices ([Queue.AppendOwned]) and from files ([Queue.AppendFile]). A mark is a completion: a function that is due as soon as
// every byte before it has been taken out, and not before. Bytes leave at the head, in the order in which they came, through
// [Queue.Peek] and [Queue.Advance]; a file leaves through [Queue.File] and [Queue.AdvanceFile].
//
// The queue calls no completion. It hands each of them out once, in order, to whoever takes the bytes before it out, or empties
// the queue with [Queue.Fail], or drops a file with [Queue.DropFile]; that one calls it, when no lock is held.
//
// # Threads
//
// A queue has no lock. Its owner calls everything under one of its own, with an exception: the slices from Peek may be read, and
// the file from File may be sent, without it. So one goroutine, the writer, does
//
//	lock, Peek, unlock, writev, lock, Advance, unlock, call the completions
//
// and meanwhile others append. This works because nothing that appends moves or changes a byte that is in the queue: a copy
// goes behind the bytes of the last block, or into a fresh block. What takes out is the writer's alone from its Peek to its
// Advance: nobody else calls Advance, AdvanceFile, DropFile, Fail or Free, nor gives this queue to another one's Splice. A
// writer that has written nothing calls Advance(0), or Fail, or peeks again.
//
// # Memory
//
// A queue from [Get] has a block of 2 KB for the answers that fit, and uses nothing else for them. What does not fit goes into
// blocks of 16 KB, from a pool; each goes back there when its last byte has been taken out. Nothing is allocated in steady
// use, and a burst leaves nothing behind. A reference to a user's slice, file or function ends when it has been
// taken out.
package outq
