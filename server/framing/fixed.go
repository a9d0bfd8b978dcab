package framing

// Fixed makes every Size bytes a message. Fewer at the end of the stream are io.ErrUnexpectedEOF.
type Fixed struct {
	// Size is the length of a message in bytes, 1 to LargestMax. Required.
	Size int
}

// Check reports invalid fields. Errors: ErrInvalid. Any goroutine.
func (f Fixed) Check() error {
	if f.Size < 1 || f.Size > LargestMax {
		return invalid("fixed", "Size is %d", f.Size)
	}
	return nil
}

// MaxLen returns Size. Any goroutine.
func (f Fixed) MaxLen() int { return f.Size }

// Next implements Framing. Any goroutine.
func (f Fixed) Next(data []byte, _ int, atEOF bool) (Result, error) {
	if f.Size < 1 || f.Size > LargestMax {
		return Result{}, f.Check()
	}
	if len(data) < f.Size {
		return incomplete("fixed", data, 0, atEOF)
	}
	return Result{Message: data[:f.Size:f.Size], Advance: f.Size}, nil
}
