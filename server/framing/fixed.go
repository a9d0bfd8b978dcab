package framing

// Fixed makes every n bytes a message; n is 1 to LargestMax. Fewer at the end of the stream are io.ErrUnexpectedEOF.
// Any goroutine.
func Fixed(n int) Framing {
	if n < 1 || n > LargestMax {
		return badValue("fixed", "messages of %d bytes", n)
	}
	return &fixed{n}
}

type fixed struct{ len int }

func (f *fixed) MaxLen() int { return f.len }

func (f *fixed) Next(data []byte, _ int, atEOF bool) (n int, message []byte, next int, err error) {
	if len(data) < f.len {
		return incomplete("fixed", data, 0, atEOF)
	}
	return f.len, data[:f.len:f.len], 0, nil
}
