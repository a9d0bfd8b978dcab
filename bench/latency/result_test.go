//go:build linux

package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/bench/internal/target"
)

func TestPercentileIsTheSmallestValueThatEnoughDoNotExceed(t *testing.T) {
	values := func(n int) (all []time.Duration) {
		for i := range n {
			all = append(all, time.Duration(i+1))
		}
		return all
	}
	for _, c := range []struct {
		n, permille int
		want        time.Duration
	}{
		{0, 500, 0}, {1, 500, 1}, {1, 1000, 1}, {2, 500, 1}, {3, 500, 2}, {10, 900, 9}, {11, 900, 10},
		{100, 990, 99}, {1000, 999, 999}, {1001, 999, 1000}, {1000, 1000, 1000},
	} {
		if got := percentile(values(c.n), c.permille); got != c.want {
			t.Errorf("%d thousandths of 1 to %d: %d, want %d", c.permille, c.n, got, c.want)
		}
	}
}

// TestRequestsAreDueAtTheRate: each interval has its number of requests, also with rates that no number of nanoseconds divides.
func TestRequestsAreDueAtTheRate(t *testing.T) {
	for _, c := range []struct {
		rate         float64
		warmup, time time.Duration
		first, total int
	}{
		{1000, time.Second, 2 * time.Second, 1000, 3000},
		{1000, 0, time.Millisecond, 0, 1},
		{3, time.Second, time.Second, 3, 6},
		{7, 100 * time.Second, time.Second, 700, 707},
		{0.5, 0, 3 * time.Second, 0, 2},
		{50_000, time.Second, 20 * time.Second, 50_000, 1_050_000},
	} {
		p := plan{rate: c.rate, warmup: c.warmup, time: c.time}
		if p.first() != c.first || p.total() != c.total {
			t.Errorf("%+v: from %d to %d", c, p.first(), p.total())
		}
		for i := range p.total() {
			if i > 0 && p.due(i) <= p.due(i-1) || (i < p.first()) != (p.due(i) < p.warmup) {
				t.Fatalf("%+v: request %d is due at %v", c, i, p.due(i))
			}
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"":                               "-addr or commands",
		"-addr :1 a=b":                   "-addr or commands",
		"-pid 1 a=b":                     "-pid",
		"-addr :1 -conns 0":              "-conns",
		"-addr :1 -rate 0":               "-rate",
		"-addr :1 -rate NaN":             "-rate",
		"-addr :1 -rate 1e8":             "-rate",
		"-addr :1 -rate 0.1 -time 1s":    "-rate",
		"-addr :1 -time 0s":              "-time",
		"-addr :1 -warmup -1s":           "-warmup",
		"-addr :1 -size 0":               "-size",
		"-addr :1 -framing words":        "-framing",
		"-addr :1 -slow 0.1":             "-slow",
		"-addr :1 -framing line -slow 2": "-slow",
		"-addr :1 -rounds 0":             "-rounds",
		"-addr :1 -path /":               "-path",
		"-addr :1 -framing http -path a": "path",
		"-addr :1 -framing http -work a": "path",
	} {
		if _, err := parse("latency", strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v and does not name %s", args, err, want)
		}
	}
	o, err := parse("latency", strings.Fields("-addr :1 -framing line -size 4 -slow 0.5"))
	if err != nil || string(o.requests[quick]) != "xxx\n" || string(o.requests[slow]) != "sleep 10ms\n" {
		t.Errorf("the requests are %q, %v", o.requests, err)
	}
	o, err = parse("latency", strings.Fields("-addr :1 -framing http -path /json -slow 0.5"))
	if err != nil || !strings.HasPrefix(string(o.requests[quick]), "GET /json HTTP/1.1\r\n") || !strings.HasPrefix(string(o.requests[slow]), "GET /db ") {
		t.Errorf("the requests are %q, %v", o.requests, err)
	}
}

// TestReportHasMediansOfTheRoundsAndTheMaximum of all.
func TestReportHasMediansOfTheRoundsAndTheMaximum(t *testing.T) {
	round := func(us ...int) *result {
		r := &result{rate: float64(100 * us[0]), cpu: time.Duration(us[0]) * time.Microsecond, unanswered: 1}
		for _, v := range us {
			r.latencies[quick] = append(r.latencies[quick], time.Duration(v)*time.Microsecond)
			r.late = append(r.late, 7*time.Microsecond)
		}
		return r
	}
	var out bytes.Buffer
	servers := []*target.Target{{Name: "a", PID: 1}, {Addr: "b:1"}}
	err := report(&out, servers, [][]*result{{round(3, 1), round(9, 8), round(4, 5)}, {round(6)}})
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line))
	}
	want := []string{
		"a quick 6 4.0 5.0 5.0 5.0 9.0 400.0 4.00 3",
		"a sent late 6 7.0 7.0 7.0 7.0 7.0",
		"b:1 quick 1 6.0 6.0 6.0 6.0 6.0 600.0 - 1",
		"b:1 sent late 1 7.0 7.0 7.0 7.0 7.0",
	}
	for i, w := range want {
		if i+1 >= len(got) || !slices.Equal(got[i+1], strings.Fields(w)) {
			t.Fatalf("row %d is not %q:\n%s", i, w, &out)
		}
	}
}
