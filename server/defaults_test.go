package server

import (
	"math"
	"testing"
	"time"
	"unsafe"
)

// The defaults have the documented values.
func TestEveryLimitIsOnByDefault(t *testing.T) {
	srv := &Server{Handler: HandlerFunc(func(*Conn, []byte) (int, error) { return 0, nil })}
	s, err := srv.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if srv.Workers != 0 || srv.MaxOutput != 0 || srv.Logger != nil || srv.IdleTimeout != 0 || srv.MaxConns != 0 {
		t.Error("the defaults were written into the user's fields")
	}
	for name, v := range map[string][2]int64{
		"Workers": {int64(s.Workers), 8}, "Queue": {int64(s.Queue), 1024}, "AcceptBudget": {int64(s.AcceptBudget), 64}, "MaxInput": {int64(s.MaxInput), 64 << 10},
		"MaxOutput": {int64(s.MaxOutput), 1 << 20}, "HighWater": {int64(s.HighWater), 1 << 18}, "LowWater": {int64(s.LowWater), 1 << 16},
		"MaxBuffered": {s.MaxBuffered, 1 << 30}, "MaxHandshakes": {int64(s.MaxHandshakes), 256},
		"IdleTimeout": {int64(s.timeouts.Idle), int64(10 * time.Minute)}, "WriteTimeout": {int64(s.timeouts.Write), int64(10 * time.Minute)},
		"CloseTimeout": {int64(s.timeouts.Close), int64(5 * time.Second)}, "HandshakeTimeout": {int64(s.HandshakeTimeout), int64(10 * time.Second)},
	} {
		if v[0] != v[1] {
			t.Errorf("%s is %d, want %d", name, v[0], v[1])
		}
	}
	if s.MaxConns < 1 || s.MaxConns == math.MaxInt || s.NumLoops < 1 {
		t.Errorf("MaxConns %d, Loops %d", s.MaxConns, s.NumLoops)
	}
	if n := unsafe.Sizeof(loopConn{}); n > 224 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("a connection is %d bytes, its comment says 224", n)
	}
	if n := unsafe.Sizeof(ext{}); n > 256 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("what few connections need is %d bytes, more than the 256 of a size class", n)
	}
}
