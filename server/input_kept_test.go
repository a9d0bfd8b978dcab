package server

import "testing"

// TestALoopKeepsFewSmallInputs: the other unused inputs are left to the pool, which the garbage collector empties.
func TestALoopKeepsFewSmallInputs(t *testing.T) {
	l := new(loop)
	var conns []*loopConn
	for i := range 3 * maxKeptInputs {
		c := &loopConn{Conn: Conn{loop: l}}
		c.newInput().buf = make([]byte, maxKeptInput+i%2)
		conns = append(conns, c)
	}
	for _, c := range conns {
		c.dropInput()
	}
	if len(l.inputs) != maxKeptInputs {
		t.Errorf("%d inputs are kept, want %d", len(l.inputs), maxKeptInputs)
	}
	for _, in := range l.inputs {
		if cap(in.buf) > maxKeptInput || len(in.buf) != 0 || in.reply.c != nil {
			t.Fatalf("an input is kept with %d of %d bytes and connection %p", len(in.buf), cap(in.buf), in.reply.c)
		}
	}
	if in := conns[0].newInput(); len(l.inputs) != maxKeptInputs-1 || in.reply.c != &conns[0].Conn {
		t.Errorf("after newInput %d inputs are kept", len(l.inputs))
	}
}
