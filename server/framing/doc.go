// Package framing cuts a stream of bytes into messages, as they come in.
//
// # The model
//
// A [Framing] is a rule for where a message ends. It reads nothing and keeps nothing: whoever has the bytes of a connection
// shows it what has come in and not yet been taken, and it says how much of that is the first message. So one Framing serves all
// connections, from any goroutine. What belongs to a connection is its bytes, and one number, the place:
//
//	for {
//		n, message, next, err := f.Next(data, place, atEOF)
//		data, place = data[n:], next
//		if message != nil {
//			use(message)
//		}
//		if err != nil {
//			// errors.Is(err, bufio.ErrFinalToken): the last message by the rule of a SplitFunc; else the stream is bad
//		}
//		if n == 0 && message == nil {
//			break // come back with more data, or, atEOF, the end
//		}
//	}
//
// The place is how far an incomplete message was looked through. It is handed back, so that a long message that comes in small
// pieces costs as much as one that comes whole, except with [Split], whose function knows no place.
//
// # The messages
//
//	Lines          ends with \n or \r\n
//	Delimiter      ends with a delimiter of any length
//	Fixed          has so many bytes
//	LengthPrefix   begins with its length in 1, 2, 4 or 8 bytes
//	Varint         begins with its length as an unsigned varint, as in delimited protocol buffers
//	DotTerminated  ends with a line of a single dot, as in SMTP, POP3 and NNTP
//	Split          ends where a bufio.SplitFunc says
//
// A message is what is inside: without the delimiter, the length, the line with the dot. It is a slice of the data, empty if there
// is nothing inside, and appending to it does not touch what follows. It is good as long as the data are. How the stream was
// cut into pieces on its way makes no difference to the messages, nor to the error.
//
// To answer in the same framing there are [AppendLengthPrefix], [AppendVarint] and [AppendDotTerminated].
//
// # Limits
//
// Each framing has a largest message, which holds for what is inside; with Split, for what its function is shown. A message of
// exactly that size is good. A longer one is ErrTooLong, which is said as soon as it is certain: when the length is there, or when
// no end can come in time. [Framing.MaxLen] is how much may have to be kept until then.
//
// # The end of the stream
//
// An unterminated last line is a message, as with bufio.Scanner. A part of any other message is io.ErrUnexpectedEOF: whoever
// sent it was cut off. Nothing after the last message is the good end.
//
// # Bad values
//
// Constructors do not fail and do not panic. What cannot be (a negative maximum, an empty delimiter) is reported by [Check], which
// is for those who take a Framing from somebody else. Next with such a Framing returns the same error.
package framing
