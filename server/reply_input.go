package server

import (
	"fmt"
	"io"
	"time"

	"github.com/evmq/evmq/event"
)

// An Input has the bytes of the connection that follow the message of a request, for example the body of an HTTP request. The function of
// the request, or after Reply.Defer any goroutine, reads them as they arrive. The server reads them from the connection when the request asks
// for more than has arrived. From then on it reads ahead, at most MaxInput bytes and at most 64 KB, or as many as Peek asks for. It holds at
// most twice as many bytes that the request has not consumed.
//
// The bytes that are not consumed when the request ends are the input that follows it: Data is called with them, or the next message begins
// there. So a function that does not consume the whole body of its request discards the rest, or closes the connection. After
// Conn.SetHandler the new handler is given the rest, as for an upgrade of the protocol; Conn.Detach passes it to its function.
//
// If the function of the request runs on the loop, a method that has to wait first makes another goroutine run the loop, as Reply.Blocking
// does; in a callback of the loop it returns event.ErrOnLoop. While a method waits, ReadTimeout counts, in total for the request, and
// IdleTimeout does not. While PauseRead stops reading, or the output is above HighWater, nothing arrives and ReadTimeout does not count.
// After StartTLS and Detach no more input arrives: calls that need more bytes than have arrived return ErrClosed, also those that wait
// already.
//
// The methods return ErrReplyEnded when the request has ended, ErrUnsupported for requests of Requests.Serve and of Dispatcher.Concurrent
// above 1, io.EOF at the end of the peer's stream, and ErrClosed, with the reason, when the connection has ended, is being closed, or was
// reset and all bytes before the reset are consumed. An Input is a small value, which may be copied. One goroutine at a time may use it,
// except for SetReadDeadline. The zero Input has ended.
type Input struct{ w Reply }

// errInputDeadline is the error after the time of SetReadDeadline.
var errInputDeadline error = timeoutError("server: the read deadline of the input has passed")

// Input returns the input that follows the message of the request. Any goroutine.
func (w Reply) Input() Input { return Input{w} }

// Peek waits until n bytes have arrived and returns them without consuming them. If n is 0 or negative, it returns all that have arrived,
// and does not wait. The bytes are valid until the next call of a method of the Input, and at most until the end of the request. Errors:
// those of Input, with the bytes that have arrived; ErrTooLong if n exceeds MaxInput of the server and the handler; after the time of
// SetReadDeadline one that matches os.ErrDeadlineExceeded. May block; not in a callback.
func (i Input) Peek(n int) ([]byte, error) {
	in, _, err := i.await(n, nil)
	if in == nil {
		return nil, i.failure("peek", err)
	}
	want := n
	if n <= 0 || err != nil {
		want = in.unread()
	}
	in.copying.Lock()
	p := in.peek(want)
	in.copying.Unlock()
	i.unlock(in)
	return p, i.failure("peek", err)
}

// Discard consumes n bytes, and waits until they have arrived. It returns the number of bytes that were consumed. Errors: those of Input;
// ErrInvalid if n is negative; after the time of SetReadDeadline one that matches os.ErrDeadlineExceeded. May block; not in a callback.
func (i Input) Discard(n int) (discarded int, err error) {
	if n < 0 {
		return 0, fmt.Errorf("discard %d bytes of input: %w", n, ErrInvalid)
	}
	for discarded < n {
		in, _, err := i.await(1, nil)
		if err != nil {
			i.unlock(in)
			return discarded, i.failure("discard", err)
		}
		in.copying.Lock()
		discarded += len(in.take(n - discarded))
		in.copying.Unlock()
		i.unlock(in)
	}
	return discarded, nil
}

// Read waits for input, and copies and consumes at most len(p) bytes. It is the method of io.Reader. Errors: those of Input; after the time
// of SetReadDeadline one that matches os.ErrDeadlineExceeded. May block; not in a callback.
func (i Input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	in, n, err := i.await(1, p)
	if err != nil || n > 0 {
		i.unlock(in)
		return n, i.failure("read", err)
	}
	in.copying.Lock()
	q := in.take(len(p))
	i.unlock(in)
	n = copy(p, q)
	in.copying.Unlock()
	return n, nil
}

// Buffered returns the number of bytes that can be read without waiting. It is 0 when the request has ended. Any goroutine.
func (i Input) Buffered() int {
	if i.w.in == nil {
		return 0
	}
	c := i.w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if i.isOver() != nil {
		return 0
	}
	return i.w.in.unread()
}

// SetReadDeadline sets the time after which calls that wait for input fail, those that wait already included, with a net.Error that matches
// os.ErrDeadlineExceeded. Input that has arrived is returned also then. The zero time means none, which is the state at the beginning of
// each request. From the first call on, this deadline is the only one of the request's input: ReadTimeout does not count any more. The time
// from now to t is measured by the clock of the server's loops. Errors: those of Input but io.EOF. Any goroutine.
func (i Input) SetReadDeadline(t time.Time) error {
	if i.w.in == nil {
		return i.failure("set the deadline of the", ErrReplyEnded)
	}
	c, in := i.w.c, i.w.in
	limit := c.maxInput()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := i.isOver(); err != nil {
		return i.failure("set the deadline of the", err)
	}
	in.usesInput = true
	in.streamOf(limit).setDeadline(c, t)
	in.stream.count(c)
	return nil
}

// failure adds the operation to an error. io.EOF and the error of SetReadDeadline stay as they are: callers of Read compare its error with
// io.EOF, and convert it to a net.Error.
func (i Input) failure(what string, err error) error {
	if err == nil || err == io.EOF || err == errInputDeadline { //nolint:errorlint // these very values
		return err
	}
	return fmt.Errorf("%s input of a request: %w", what, err)
}

// isOver returns an error if no input can be read, not even bytes that have arrived; otherwise nil. Under the connection's mu.
func (i Input) isOver() error {
	c, r := i.w.c, &i.w.in.reply
	switch {
	case r.number.Load() != i.w.number:
		return ErrReplyEnded
	case r.order != 0:
		return ErrUnsupported
	case c.state == connClosed:
		return c.refusal()
	}
	return nil
}

// await waits until n bytes have arrived. It returns the input with the connection's mu locked, also with an error, unless nothing can be read
// any more, or the wait is impossible on this goroutine: then it returns a nil input. If it has read bytes from the socket into p, it returns
// their number. unlock ends the use of the result.
func (i Input) await(n int, p []byte) (in *input, read int, err error) {
	if i.w.in == nil {
		return nil, 0, ErrReplyEnded
	}
	c, in := i.w.c, i.w.in
	for limit, mayWait := 0, false; ; {
		c.mu.Lock()
		if err = i.isOver(); err != nil {
			c.mu.Unlock()
			return nil, 0, err
		}
		in.usesInput = true
		if in.unread() >= n {
			return in, 0, nil
		}
		if err = in.noMore(); err != nil {
			return in, 0, err
		}
		if limit == 0 && in.stream == nil {
			c.mu.Unlock()
			limit = c.maxInput()
			continue
		}
		s := in.streamOf(limit)
		switch {
		case n > s.most:
			return in, 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, n, s.most)
		case s.need > 0:
			return in, 0, fmt.Errorf("%w: another goroutine waits for it", ErrInvalid)
		}
		if read, ok := in.readNow(p); read > 0 {
			return in, read, nil
		} else if ok {
			c.mu.Unlock()
			continue
		}
		if mayWait {
			if err = i.wait(n); err != nil {
				return nil, 0, err
			}
			continue
		}
		c.mu.Unlock()
		if mayWait = true; c.loop.ev.OnLoop() {
			return nil, 0, event.ErrOnLoop
		}
		in.reply.leaveLoop(c)
	}
}

// wait waits until n bytes have arrived, or await has to check the state of the request again. It asks the loop to read. Under the
// connection's mu, which it unlocks.
func (i Input) wait(n int) error {
	c, s := i.w.c, i.w.in.stream
	s.need, s.waitBegan = n, c.loop.ev.Clock().Now()
	queue := false
	if !s.asked || s.full || s.failed != nil {
		s.asked, s.full = true, false
		queue = c.mark(cmdInput)
	}
	ready := s.ready
	c.mu.Unlock()
	c.enqueue(queue)
	select {
	case <-ready:
	case <-c.loop.srv.baseCtx.Done(): // the loop may be blocked, and not wake the request
		return fmt.Errorf("%w (%w)", ErrClosed, ErrServerClosed)
	}
	c.mu.Lock()
	if i.isOver() == nil {
		s.endWait(c.loop.ev.Clock().Now())
	}
	c.mu.Unlock()
	return nil
}

// unlock ends the use of the result of await, and unlocks the connection's mu. If the request has consumed enough, the loop reads on.
func (i Input) unlock(in *input) {
	if in == nil {
		return
	}
	c, s := i.w.c, in.stream
	queue := false
	in.cancelAfterInput()
	if s != nil {
		s.count(c)
		if s.full && in.room() >= s.limit/2 {
			s.full = false
			queue = c.mark(cmdInput)
		}
	}
	c.mu.Unlock()
	c.enqueue(queue)
}
