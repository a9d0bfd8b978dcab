package examples_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// While reports hold all workers of their pool, further reports are refused, and other lines are answered.
func TestPools(t *testing.T) {
	p, addr := listening(t, build(t, "pools"), "-report", "1h", "-wait", "1ms")
	var slow []*client
	for range 10 { // two run in their pool, and each loop may have one
		c := dial(t, addr)
		c.send("report\n")
		slow = append(slow, c)
	}
	quick := dial(t, addr)
	for refused := false; !refused; {
		quick.send("ping\npools\n")
		quick.expectLines("ping")
		own, reports := quick.readLine(), quick.readLine()
		if !strings.HasPrefix(own, `"": `) || !strings.HasPrefix(reports, `"reports": `) || !strings.HasSuffix(own, " 0 refused") {
			t.Fatalf("the pools are %s and %s", own, reports)
		}
		refused = !strings.HasSuffix(reports, " 0 refused")
	}
	for _, c := range slow {
		testkit.Must(t, c.SetLinger(0))
		testkit.Must(t, c.Close())
	}
	testkit.Must(t, quick.Close())
	p.signal(syscall.SIGTERM)
	p.wait()
}
