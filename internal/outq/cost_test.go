package outq

import "testing"

// What waits counts with what it takes up beside its bytes: else a client that reads nothing could have any number of completions and
// files kept for it.
func TestSegmentsAndFilesCountWithTheirOverhead(t *testing.T) {
	q := Get()
	want := func(mem, files int) {
		t.Helper()
		if q.Mem() != mem || q.Files() != files {
			t.Errorf("Mem is %d, Files %d; want %d and %d", q.Mem(), q.Files(), mem, files)
		}
		invariants(t, q)
	}
	done := func(error) {}
	q.Append(make([]byte, 100))
	want(100, 0)
	q.Notify(done)
	q.AppendOwned(make([]byte, 10), done)
	want(110+2*SegmentCost, 0)
	q.AppendFile(&File{Remain: 1 << 40})
	q.AppendFile(&File{Remain: 1000, Done: done})
	want(110+2*SegmentCost+2*FileCost, 2)
	other := Get()
	other.Splice(q)
	q = other
	want(110+2*SegmentCost+2*FileCost, 2)
	q.Advance(110, nil)
	want(2*FileCost, 2)
	q.DropFile(nil)
	want(FileCost, 1)
	q.AdvanceFile(999, nil)
	want(FileCost, 1)
	q.AdvanceFile(1, nil)
	want(0, 0)
	q.AppendFile(&File{Remain: 0})
	q.Notify(done)
	want(FileCost+SegmentCost, 1)
	q.Fail(nil)
	want(0, 0)
}
