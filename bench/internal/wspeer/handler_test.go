package wspeer

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestBroadcastHasTheNumberAndTheSizeOfTheRequest and requests without them are refused.
func TestBroadcastHasTheNumberAndTheSizeOfTheRequest(t *testing.T) {
	var size, repeats int
	h := &Handler{Broadcast: func(message []byte, n int) int { size, repeats = len(message), n; return 3 }}
	for query, want := range map[string][2]int{
		"n=2&size=1000": {2, 1000}, "n=1&size=0": {1, 0}, "": {}, "n=0&size=1": {}, "n=1": {}, "n=1&size=-1": {}, "n=1&size=16777217": {}, "n=x&size=1": {},
	} {
		size, repeats = 0, 0
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/broadcast?"+query, nil))
		wantStatus, wantBody := http.StatusOK, "3\n"
		if want == [2]int{} {
			wantStatus, wantBody = http.StatusBadRequest, "not a number"
		}
		if w.Code != wantStatus || !strings.Contains(w.Body.String(), wantBody) || size != want[1] || repeats != want[0] {
			t.Errorf("%q: %d %q; %d messages of %d bytes", query, w.Code, w.Body, repeats, size)
		}
	}
}

func TestAGroupSendsToItsMembers(t *testing.T) {
	var g Group[int]
	if n := g.Send(func(all []int) { AtOnce(all, func(int) { t.Error("a member") }) }); n != 0 {
		t.Errorf("an empty group has %d members", n)
	}
	for i := range 101 {
		g.Add(i)
	}
	g.Remove(50)
	var got [101]atomic.Int32
	if n := g.Send(func(all []int) { AtOnce(all, func(i int) { got[i].Add(1) }) }); n != 100 {
		t.Errorf("%d members", n)
	}
	for i := range got {
		want := int32(1)
		if i == 50 {
			want = 0
		}
		if n := got[i].Load(); n != want {
			t.Errorf("member %d was called %d times", i, n)
		}
	}
}

func TestMessagesHaveTheirSizeAndAreText(t *testing.T) {
	for _, size := range []int{0, 1, 1024, 100_000} {
		m := Message(size)
		if len(m) != size || slices.ContainsFunc(m, func(c byte) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%d bytes: %.50q, %d bytes", size, m, len(m))
		}
	}
}
