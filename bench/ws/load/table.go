//go:build linux

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"

	"github.com/evmq/evmq/bench/internal/target"
)

// A table has a figure of each server in each round.
type table struct {
	title, unit string
	names       []string
	figures     [][]float64 // of a server, of a round
}

func newTable(title, unit string, servers []*target.Target) *table {
	t := &table{title: title, unit: unit, figures: make([][]float64, len(servers))}
	for _, s := range servers {
		t.names = append(t.names, s.Name)
	}
	return t
}

func (t *table) add(server int, figure float64) {
	t.figures[server] = append(t.figures[server], figure)
}

// print prints for each server the median of its ratios to base, which are taken within a round, with the 95 % interval of that median, and the median of
// its figures.
func (t *table) print(w io.Writer, base string) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintf(out, "%s\tratio to %s\t95 %% interval\tmedian\n", t.title, base); err != nil {
		return err
	}
	divisors := t.figures[slices.Index(t.names, base)]
	for i, name := range t.names {
		ratios := make([]float64, len(divisors))
		for round, d := range divisors {
			ratios[round] = t.figures[i][round] / d
		}
		low, high := interval(ratios)
		figure := median(slices.Clone(t.figures[i]))
		if _, err := fmt.Fprintf(out, "%s\t%.3f\t%.3f to %.3f\t%.2f%s\n", name, median(ratios), low, high, figure, t.unit); err != nil {
			return err
		}
	}
	return out.Flush()
}

// interval returns a 95 % interval of the median of values, from medians of samples of them.
func interval(values []float64) (low, high float64) {
	const samples = 2000
	medians := make([]float64, samples)
	sample := make([]float64, len(values))
	for i := range medians {
		for j := range sample {
			sample[j] = values[rand.IntN(len(values))]
		}
		medians[i] = median(sample)
	}
	slices.Sort(medians)
	return medians[samples/40], medians[samples-1-samples/40]
}
