// Package outq implements the output of a connection: a queue of bytes that wait to be written to a socket, first in, first out.
//
// # The model
//
// A [Queue] is a sequence of bytes and of marks between them. The bytes come from copies ([Queue.Append]), from the user's own
// slices ([Queue.AppendOwned]) and from files ([Queue.AppendFile]). A mark is a completion: a function that is due when
// every byte before it has been removed, and not earlier. Bytes are removed at the head, in the order in which they were added, with
// [Queue.Peek] and [Queue.Advance]; a file is removed with [Queue.File] and [Queue.AdvanceFile].
//
// The queue calls no completion. It returns each of them once, in order, to the caller of the method that removes the bytes before it:
// Advance, AdvanceFile, [Queue.Fail] or [Queue.DropFile]. The caller calls it when no lock is held.
//
// # Goroutines
//
// A queue has no lock. Its owner calls all methods under a lock of its own. There is one exception: the slices from Peek may be read, and
// the file from File may be sent, without the lock. So one goroutine, the writer, executes
//
//	lock, Peek, unlock, writev, lock, Advance, unlock, call the completions
//
// while other goroutines append. This is safe because the methods that append do not move or change a byte in the queue: a copy
// is put after the bytes of the last block, or into a new block. From its Peek to its Advance only the writer may call the methods that remove:
// Advance, AdvanceFile, DropFile, Fail, Free, and Splice of this queue into another one. A
// writer that has written nothing calls Advance(0) or Fail, or calls Peek again.
//
// # Memory
//
// A queue from [Get] has a block of 2 KB. Answers that fit into it need no other memory. Other bytes are copied to
// blocks of 16 KB from a pool; a block is returned to the pool when its last byte has been removed. In steady use nothing is
// allocated, and no memory is kept after a burst. The queue refers to a user's slice, file or function until it has been
// removed.
package outq
