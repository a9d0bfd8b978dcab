//go:build linux

// Compute measures how long a loop does not answer when goroutines begin to compute on all processors after the process was idle. They compute
// until the loop has answered a request, for 2 s at most, and the loop's process gets no signals and no other requests.
//
//	go run ./compute -beside nothing
//	go run ./compute -from read,inline -idle 1ms,10s -procs 1 -beside http
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A plan is what is measured. Each combination of from, beside and procs is a process of its own.
type plan struct {
	from, beside []string
	procs        []int
	idle         []time.Duration
	repeats      int
	long         time.Duration
}

func main() {
	log.SetFlags(0)
	from := flag.String("from", strings.Join(froms, ","), "what makes the goroutines compute")
	beside := flag.String("beside", strings.Join(besides, ","), "what the process has besides")
	procs := flag.String("procs", "1,2,4", "values of GOMAXPROCS, which also is the number of the goroutines")
	idle := flag.String("idle", "1ms,10ms,100ms,1s,10s", "how long the process has been idle before")
	repeats := flag.Int("repeats", 5, "number of repetitions")
	long := flag.Duration("long", 20*time.Second, "fewer repetitions, but two at least, if their idle times exceed this duration")
	serves := flag.Bool("serve", false, "run the loop (used by the program itself)")
	flag.Parse()
	var err error
	if *serves {
		err = serve(*from, *beside)
	} else {
		p := plan{from: strings.Split(*from, ","), beside: strings.Split(*beside, ","), repeats: *repeats, long: *long}
		p.procs, err = list(*procs, strconv.Atoi)
		if err == nil {
			p.idle, err = list(*idle, time.ParseDuration)
		}
		if err == nil {
			err = p.run()
		}
	}
	if err != nil {
		log.Fatal("compute: ", err)
	}
}

// list returns the values of a list with commas.
func list[T any](s string, parse func(string) (T, error)) (values []T, err error) {
	for word := range strings.SplitSeq(s, ",") {
		v, err := parse(word)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// run prints a table for each value of beside.
func (p plan) run() error {
	for _, beside := range p.beside {
		rows, err := p.measure(beside)
		for _, r := range rows {
			err = cmp.Or(err, r.stop())
		}
		if err != nil {
			return err
		}
		fmt.Printf("\nbeside %s: milliseconds until the answer, median / worst\n\n| from | GOMAXPROCS |", beside)
		for _, idle := range p.idle {
			fmt.Printf(" idle %v |", idle)
		}
		fmt.Println("\n|" + strings.Repeat("---|", 2+len(p.idle)))
		for _, r := range rows {
			fmt.Printf("| %s | %d |", r.from, r.procs)
			for _, idle := range p.idle {
				w := r.waits[idle]
				slices.Sort(w)
				fmt.Printf(" %s / %s |", milliseconds(w[len(w)/2]), milliseconds(w[len(w)-1]))
			}
			fmt.Println()
		}
	}
	return nil
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 9.95 {
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(ms, 'f', 0, 64)
}

// measure measures the rows of a table. Rows are measured one at a time, but are idle at the same time for the long durations.
func (p plan) measure(beside string) (rows []*row, err error) {
	for _, from := range p.from {
		for _, procs := range p.procs {
			r := &row{from: from, beside: beside, procs: procs, waits: map[time.Duration][]time.Duration{}}
			rows = append(rows, r)
			if err := p.repeat([]*row{r}, func(idle time.Duration) bool { return idle < time.Second }); err != nil {
				return rows, err
			}
			if err := r.stop(); err != nil { // a ticker would disturb the other rows
				return rows, err
			}
		}
	}
	return rows, p.repeat(rows, func(idle time.Duration) bool { return idle >= time.Second })
}

// repeat measures rows after those idle times that are selected.
func (p plan) repeat(rows []*row, selects func(idle time.Duration) bool) error {
	for _, idle := range p.idle {
		if !selects(idle) {
			continue
		}
		for i := range min(p.repeats, max(2, int(p.long/idle))) {
			for _, r := range rows {
				if err := r.measure(idle, i%4); err != nil {
					return fmt.Errorf("%s, beside %s, GOMAXPROCS %d, idle for %v: %w", r.from, r.beside, r.procs, idle, err)
				}
			}
		}
	}
	return nil
}
