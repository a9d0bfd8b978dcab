// Package difftest compares evcached with memcached: both receive the same bytes, and their answers must be the same.
//
// There are two kinds of scripts. Those in testdata/scripts are written by hand and have the answers of memcached, so they can be read, and be
// checked without memcached. Those of a [Generator] are determined by a seed and are sent to both servers; if the answers differ, [Shrink] looks for
// the smallest script that still shows the difference. Values of this package must not be used concurrently.
//
// # Scripts
//
// A script consists of lines of text. Those of a [Group] are sent to a server that has just been flushed.
//
//	# a comment
//	args -I 2m               arguments of both servers; before the first group
//	== name                  a group. "== name stepwise" is not also sent in one piece, "== name unsteady" is sent to evcached only, and
//	                         "== name second" is repeated if a second of the server's clock has ended meanwhile
//	> get k                  sends the bytes and \r\n
//	b> get key=k opaque=7    sends a binary frame
//	x> 80 00 00 01           sends bytes in hexadecimal
//	u> 0001 0000 0001 0000 get k   sends a datagram over UDP: the four numbers of its header, and the text with \r\n
//	< END                    a line of the answer
//	<                        no answer
//	on B                     the next lines are for connection B, which is opened by the first of them
//	wait 1100ms              waits for an effect of time
//
// Lines that are sent without an answer between them are one write. Lines are quoted as by [Quote]. Their end \r\n is omitted in both directions; a
// line with another end has \n if that is the whole end, or \c if it has none.
//
// # Differences that are allowed
//
// A mark in braces, which [Canon] inserts, stands for a part of an answer that the protocol does not determine:
//
//	{cas2}      a unique number that the server has chosen: the second one in the group. Equal numbers have the same mark. Numbers that a
//	            script chooses are above a thousand million, and are compared as they are
//	{~30}       a time in seconds that runs during the script: it may differ by one
//	{*}         anything: the version, the slab class and the size in the answer to me, times of day in a dump
//	{closed}    the server has closed the connection
//
// All other bytes are compared.
//
// # Behaviour of memcached that evcached does not have
//
// Some answers of memcached 1.6.18 depend on how the input is divided, or are faults. No script compares them:
//
//   - A get, or another command, with a key that is too long drops the pending answers before it. Groups with one are "unsteady".
//
//   - So does a binary frame with a wrong magic number, and a client that closes its sending half within a value.
//
//   - incr and decr replace an item, instead of padding it with spaces, while an answer with its value is pending. The new item does not keep the
//     mark that the old one was stale. These are "unsteady", too.
//
//   - They do not accept a number of 2^63 or more as a number if a minus happens to follow it in memory: no generated value has one.
//
//   - After an unknown binary operation with a body, as many following bytes as the lengths of its extras and its key are lost.
//
//   - With -C, items stored in the second of a flush_all without a delay are lost, and a flush_all with a date that has passed does not remove items
//     stored since that date.
//
//   - Items that a flush_all has removed reappear, if no look-up has found them, after another flush_all with a delay or with a date before the start of
//     the server.
//
//   - The remaining time to live of an item that has just received a negative one is a number near 2^32.
//
//   - Of several requests that a client sends together before it has authenticated, only the last is answered.
//
//   - Over UDP, each value and each command has datagrams of its own that are numbered as if they were the whole answer; evcached sends one message for
//     a datagram, as the protocol requires.
//
//   - An mg with an opaque that is too long is an error, but with N it creates an item.
//
//   - Requests after an lru_crawler metadump in the same write are answered only when more input arrives.
//
//   - A flag above 127 in a meta command is reported as a duplicate.
//
//   - An lru_crawler metadump of a list without numbers occupies the place of a client for ever, so later ones fail.
//
//   - lru_crawler disable takes effect some time after its answer.
//
// Scripts do not compare classes and pages. docs/evcached.md lists the intended differences of evcached.
package difftest
