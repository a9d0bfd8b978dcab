// Package framing cuts a stream of bytes into messages as the bytes arrive.
//
// # The model
//
// A [Framing] is a rule for where a message ends. It does not read and has no state: the caller passes the bytes of a connection that have
// arrived and are not removed yet, and gets the first message and the number of bytes to remove. So one Framing serves all connections,
// from any goroutine. The state of a connection is its bytes, and one number, the cursor:
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
//			break // the last message; or more data is needed; or, atEOF, the end
//		}
//	}
//
// The cursor is the number of bytes of an incomplete message that were examined. The caller passes it to the next call, so that a long
// message that arrives in small pieces costs as much as one that arrives whole, except with [Split], whose function has no cursor.
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
// A message is the content: without the delimiter, the length, the line with the dot. It is a slice of the data, empty if the content is
// empty; its capacity ends with it, so that append does not overwrite the bytes that follow. It is valid as long as the data. The messages
// and the error do not depend on the pieces in which the stream arrives.
//
// To answer in the same framing, use [AppendLengthPrefix], [AppendVarint] and [AppendDotTerminated].
//
// # Limits
//
// Each framing has a longest message, the field Max, which limits the content; with Split, the bytes that its function is given. A message
// of exactly that size is valid. A longer one is ErrTooLong, as soon as that is certain: when the length was read, or when no end can
// follow within the limit. [Framing.MaxLen] is the number of bytes that may have to be stored until then.
//
// # The end of the stream
//
// An unterminated last line is a message, as with bufio.Scanner. A part of any other message is io.ErrUnexpectedEOF. The end of the stream
// directly after a message is no error.
//
// # Invalid values
//
// The framings are structs, whose zero values are valid unless a field is required. [Check] reports an invalid field (a negative maximum,
// an empty delimiter), and Next returns the same error.
package framing
