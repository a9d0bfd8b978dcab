// Package framing cuts a stream of bytes into messages, as they come in.
//
// # The model
//
// A [Framing] is a rule for where a message ends. It reads nothing and keeps nothing: the caller, which has the bytes of a connection,
// shows it those that have come and are not removed yet, and it returns the first message and how many bytes that takes up. So one
// Framing serves all connections, from any goroutine. The state of a connection is its bytes, and one number, the cursor:
//
//	for {
//		r, err := f.Next(data, cursor, atEOF)
//		if err != nil {
//			return err // the stream is bad
//		}
//		data, cursor = data[r.Advance:], r.Cursor
//		if r.Message != nil {
//			use(r.Message)
//		}
//		if r.Final || r.Advance == 0 && r.Message == nil {
//			break // the last message, or come back with more data, or, atEOF, the end
//		}
//	}
//
// The cursor says how much of an incomplete message was examined. It is handed back, so that a long message that comes in small
// pieces costs as much as one that comes whole, except with [Split], whose function has no cursor.
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
// is nothing inside, and appending to it does not touch what follows. It is valid as long as the data are. How the stream was
// cut into pieces on its way makes no difference to the messages, nor to the error.
//
// To answer in the same framing there are [AppendLengthPrefix], [AppendVarint] and [AppendDotTerminated].
//
// # Limits
//
// Each framing has a longest message, the field Max, which holds for what is inside; with Split, for what its function is given. A message
// of exactly that size is good. A longer one is ErrTooLong, as soon as that is certain: when the length is there, or when
// no end can come in time. [Framing.MaxLen] is how much may have to be kept until then.
//
// # The end of the stream
//
// An unterminated last line is a message, as with bufio.Scanner. A part of any other message is io.ErrUnexpectedEOF: its sender
// was cut off. The end of the stream directly behind a message is no error.
//
// # Invalid values
//
// The framings are structs, whose zero values are valid unless a field is required. [Check] reports an invalid field (a negative maximum,
// an empty delimiter), and Next returns the same error.
package framing
