// Package difftest holds evcached to memcached: the same bytes go to both, and what comes back must be the same.
//
// There are two kinds of scripts. Those in testdata/scripts are written by hand, and what memcached answered is recorded beside
// what was sent, so that they can be read, and checked without a memcached at hand. Those that a [Generator] writes come from a
// seed, and are played to both servers at once; where the answers differ, [Shrink] finds the smallest script that still
// shows it. A value of this package is for one goroutine at a time.
//
// # Scripts
//
// A script is lines of text. Those of a [Group] go to a server that has just been flushed.
//
//	# a comment
//	args -I 2m               both servers' arguments; before the first group
//	== name                  a group; "== name stepwise" is not sent in one piece too, "== name unsteady" to evcached only, and
//	                         "== name second" is played again when a second of the server's clock has ended meanwhile
//	> get k                  sends the bytes and \r\n
//	b> get key=k opaque=7    sends a binary frame
//	x> 80 00 00 01           sends bytes given in hexadecimal
//	u> 0001 0000 0001 0000 get k   sends a datagram over UDP: the four numbers of its header, and \r\n behind the text
//	< END                    a line of the answer
//	<                        no answer
//	on B                     what follows is about connection B, which is opened at its first line
//	wait 1100ms              for what only time brings
//
// Lines that are sent one after another with no answer between them are one write. What a line says is quoted as by [Quote]; the
// line end \r\n is left out, in both directions. A text that ends otherwise says so: with \n when that is all there was, with
// \c when there was no line end.
//
// # What may differ
//
// Where an answer is not determined by the protocol, a mark in braces stands in its place, put there by [Canon]:
//
//	{cas2}      a unique number that the server chose: the second one that the group has seen. The same number is the same
//	            mark, another is another. What a script chooses itself is above a thousand million, and is compared as it is.
//	{~30}       a time in seconds that runs while the script does: within one of what is there
//	{*}         whatever it is: the version, the slab class and the size in the answer to me, the times of day in a dump
//	{closed}    the server has closed the connection
//
// All else is compared byte for byte.
//
// # What memcached does, and evcached does not
//
// Some answers of memcached 1.6.18 depend on how what is sent is cut, or are plain faults. No script compares them:
//
//   - A get, or another command, whose key is too long drops the answers that wait before it. Groups with one are "unsteady".
//
//   - So does a binary frame with a bad magic, and a client that ends its sending half within a value.
//
//   - incr and decr replace an item, and do not fill it up with spaces, while an answer with its value waits. Nor does the new item
//     remember that the old one was stale. These are "unsteady" too.
//
//   - Both take a number of 2^63 or more for none when there happens to be a minus behind it in memory: no generated value has one.
//
//   - A binary operation that is unknown and has a body: as many bytes behind it as its extras and its key have are lost.
//
//   - With -C, what is stored in the second of a flush_all without a delay is lost; after one with a date that has passed, what was
//     stored since that date stays.
//
//   - What a flush_all has removed comes back, if no look-up has met it, when another flush_all is to come later or has a date from
//     before the server's start.
//
//   - The time to live that is left of an item that has just been given a negative one is some number near 2^32.
//
//   - Of the answers to what a client sends together before it has authenticated, only the last is sent.
//
//   - Over UDP, each value and each command has datagrams of its own that say that they are all; evcached sends one message for a
//     datagram, as the protocol has it.
//
//   - An mg whose opaque is too long is an error, and makes an item all the same when it has N.
//
//   - What follows an lru_crawler metadump in the same write is answered only when more comes.
//
//   - A flag above 127 in a meta command is said to be there twice.
//
//   - An lru_crawler metadump of a list without numbers takes the place of a client that is never given back, and later ones fail.
//
//   - lru_crawler disable takes effect some time after its answer.
//
// Nor do scripts hold evcached to which classes and pages there are. docs/evcached.md lists what evcached does otherwise.
package difftest
