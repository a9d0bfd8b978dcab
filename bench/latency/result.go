//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/evmq/evmq/bench/internal/target"
)

// A result has each latency of a run: so many fit into memory, and percentiles are exact.
type result struct {
	latencies  [kinds][]time.Duration // from the time at which a request was due to its answer
	late       []time.Duration        // from the time at which a request was due to the time at which the client has sent it
	rate       float64                // answers a second
	cpu        time.Duration          // processor time of the server per answer; 0: unknown
	unanswered int                    // requests, which are in latencies with the time that they have waited
}

// newResult has room for a run, so that the client does not allocate memory in it.
func newResult(p *plan) *result {
	n := p.total() - p.first()
	r := &result{late: make([]time.Duration, 0, n)}
	r.latencies[quick] = make([]time.Duration, 0, n)
	if p.slow > 0 {
		r.latencies[slow] = make([]time.Duration, 0, min(n, 1000+int(2*p.slow*float64(n))))
	}
	return r
}

// A window is the time that is measured.
type window struct {
	cpu     func() (time.Duration, error) // of the server
	time    time.Duration
	used    time.Duration
	answers int
}

func (w *window) open(c *client) (err error) {
	w.time, w.answers = c.now(), c.answers
	w.used, err = w.cpu()
	return err
}

func (w *window) close(c *client) error {
	used, err := w.cpu()
	n := c.answers - w.answers
	c.result.rate = float64(n) / (c.now() - w.time).Seconds()
	c.result.cpu = (used - w.used) / time.Duration(max(n, 1))
	return err
}

// permilles are the percentiles that are reported, in thousandths. The last one is the maximum.
var permilles = []int{500, 900, 990, 999, 1000}

// percentile returns the smallest of sorted values that so many thousandths of them do not exceed, and 0 if there are none.
func percentile(sorted []time.Duration, permille int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*permille+999)/1000, 1)-1]
}

// report prints a table with the rows of all servers. Each figure is the median of the rounds, and each maximum that of all rounds.
func report(out io.Writer, servers []*target.Target, results [][]*result) error {
	var b strings.Builder
	b.WriteString("server\trequests\tcount\tp50 µs\tp90 µs\tp99 µs\tp99.9 µs\tmax µs\tanswers/s\tCPU µs/answer\tunanswered\t\n")
	for i, s := range servers {
		first := summary(s, results[i])
		for k := range kind(kinds) {
			latencies := func(r *result) []time.Duration { return r.latencies[k] }
			if row := figures(results[i], latencies); row != "" {
				fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t\n", s, k, count(results[i], latencies), row, first)
				first = "\t\t"
			}
		}
		late := func(r *result) []time.Duration { return r.late }
		fmt.Fprintf(&b, "%s\tsent late\t%s\t%s\t\t\t\t\n", s, count(results[i], late), figures(results[i], late))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, err := io.WriteString(w, b.String())
	return errors.Join(err, w.Flush())
}

// summary returns the columns that do not depend on the kind of a request.
func summary(s *target.Target, rounds []*result) string {
	cpu := "-"
	if s.PID != 0 {
		cpu = fmt.Sprintf("%.2f", median(rounds, func(r *result) float64 { return micros(r.cpu) }))
	}
	unanswered := 0
	for _, r := range rounds {
		unanswered += r.unanswered
	}
	return fmt.Sprintf("%.1f\t%s\t%d", median(rounds, func(r *result) float64 { return r.rate }), cpu, unanswered)
}

func count(rounds []*result, values func(*result) []time.Duration) string {
	n := 0
	for _, r := range rounds {
		n += len(values(r))
	}
	return fmt.Sprint(n)
}

// figures returns the percentiles, or "" if there are no values. It sorts the values.
func figures(rounds []*result, values func(*result) []time.Duration) (row string) {
	rounds = slices.DeleteFunc(slices.Clone(rounds), func(r *result) bool { return len(values(r)) == 0 })
	if len(rounds) == 0 {
		return ""
	}
	for _, r := range rounds {
		slices.Sort(values(r))
	}
	for i, p := range permilles {
		at := func(r *result) float64 { return micros(percentile(values(r), p)) }
		v := median(rounds, at)
		if p == 1000 {
			v = at(slices.MaxFunc(rounds, func(a, b *result) int { return cmp.Compare(at(a), at(b)) }))
		}
		if i > 0 {
			row += "\t"
		}
		row += fmt.Sprintf("%.1f", v)
	}
	return row
}

func median(rounds []*result, value func(*result) float64) float64 {
	var all []float64
	for _, r := range rounds {
		all = append(all, value(r))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
