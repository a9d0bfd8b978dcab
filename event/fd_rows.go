package event

import "iter"

// rows holds the rows of descriptors, by number. They are stored in chunks that never move and that exist only where a descriptor was
// added: growth copies nothing, and a high number takes one chunk.
type rows struct{ chunks []*rowChunk }

type rowChunk [256]fdEntry

// at returns fd's row, nil if it never had one.
func (r *rows) at(fd int) *fdEntry {
	i := uint(fd) / uint(len(rowChunk{}))
	if i >= uint(len(r.chunks)) || r.chunks[i] == nil {
		return nil
	}
	return &r.chunks[i][uint(fd)%uint(len(rowChunk{}))]
}

// make returns fd's row and creates it if necessary.
func (r *rows) make(fd int) *fdEntry {
	i := fd / len(rowChunk{})
	if i >= len(r.chunks) {
		r.chunks = append(r.chunks, make([]*rowChunk, i+1-len(r.chunks))...)
	}
	if r.chunks[i] == nil {
		r.chunks[i] = new(rowChunk)
	}
	return &r.chunks[i][fd%len(rowChunk{})]
}

// all iterates over the rows in the order of their descriptors, including empty ones.
func (r *rows) all() iter.Seq2[int, *fdEntry] {
	return func(yield func(int, *fdEntry) bool) {
		for i, chunk := range r.chunks {
			if chunk == nil {
				continue
			}
			for j := range chunk {
				if !yield(i*len(rowChunk{})+j, &chunk[j]) {
					return
				}
			}
		}
	}
}
