package outq

import "testing"

// Segments and files count with the memory that they take up besides their bytes. Otherwise a client that reads nothing could have any number of
// completions and files kept for it.
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

// TestTheFootprintIsTheMemoryThatIsHeld, and not the bytes that wait: a few bytes hold a block, until the last of them has gone.
func TestTheFootprintIsTheMemoryThatIsHeld(t *testing.T) {
	q := Get()
	defer q.Free()
	q.segs = nil // the pool may have kept some
	base := q.Footprint()
	if base < smallBlock || base > 2*smallBlock {
		t.Errorf("an empty queue has a footprint of %d bytes", base)
	}
	want := func(what string, least, most int) {
		t.Helper()
		if n := q.Footprint() - base - cap(q.segs)*segmentSize; n < least || n > most {
			t.Errorf("%s: the footprint is %d bytes above an empty queue's, want %d to %d", what, n, least, most)
		}
	}
	q.Append(make([]byte, smallBlock))
	want("what fits into the first block", 0, 0)
	q.Append([]byte("x"))
	want("a byte more", largeBlock, largeBlock)
	q.Advance(smallBlock, nil)
	want("when the first block is empty", largeBlock, largeBlock)
	q.AppendOwned(make([]byte, 1000), func(error) {})
	want("an owned slice", largeBlock+1000, largeBlock+1000+SegmentCost)
	q.AppendFile(&File{Remain: 1 << 40})
	want("a file", largeBlock+1000+FileCost, largeBlock+1000+FileCost+2*SegmentCost)
	q.Advance(1, nil)
	want("without the copy", 1000+FileCost, 1000+FileCost+2*SegmentCost)
	q.Fail(nil)
	want("when all has failed", 0, 0)
}
