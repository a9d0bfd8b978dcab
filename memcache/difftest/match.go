package difftest

import (
	"fmt"
	"strconv"
	"strings"
)

// Match compares two answers in canonical form. It returns "" if they are the same, and otherwise a description of the difference.
func Match(want, got []string) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return fmt.Sprintf("line %d: got  %s\n\tafter the end of the expected answer", i+1, abridge(got[i]))
		case i >= len(got):
			return fmt.Sprintf("line %d: want %s\n\tgot nothing", i+1, abridge(want[i]))
		case !matchLine(want[i], got[i]):
			return fmt.Sprintf("line %d: want %s\n\tgot          %s", i+1, abridge(want[i]), abridge(got[i]))
		}
	}
	return ""
}

// abridge shortens a long text in the middle.
func abridge(line string) string {
	const most = 600
	if len(line) > most {
		return line[:most] + "..."
	}
	return line
}

// matchLine compares two lines, in which {~n} stands for n and its neighbours.
func matchLine(want, got string) bool {
	for want != got {
		w, wantRest, wantNear := strings.Cut(want, "{~")
		g, gotRest, gotNear := strings.Cut(got, "{~")
		if w != g || !wantNear || !gotNear {
			return false
		}
		w, want, _ = strings.Cut(wantRest, "}")
		g, got, _ = strings.Cut(gotRest, "}")
		m, _ := strconv.ParseInt(w, 10, 64) // Canon wrote them
		n, _ := strconv.ParseInt(g, 10, 64)
		if m-n > 1 || n-m > 1 {
			return false
		}
	}
	return true
}
