package event

import "iter"

// descriptors has the descriptors of a loop, by number. They are stored in chunks that never move and that exist only where a
// descriptor was added: growth copies nothing, and a high number takes one chunk.
type descriptors struct{ chunks []*descriptorChunk }

type descriptorChunk [256]descriptor

// at returns the descriptor fd, nil if no event was ever added for it or its neighbors.
func (d *descriptors) at(fd int) *descriptor {
	i := uint(fd) / uint(len(descriptorChunk{}))
	if i >= uint(len(d.chunks)) || d.chunks[i] == nil {
		return nil
	}
	return &d.chunks[i][uint(fd)%uint(len(descriptorChunk{}))]
}

// make returns the descriptor fd and creates it if necessary.
func (d *descriptors) make(fd int) *descriptor {
	i := fd / len(descriptorChunk{})
	if i >= len(d.chunks) {
		d.chunks = append(d.chunks, make([]*descriptorChunk, i+1-len(d.chunks))...)
	}
	if d.chunks[i] == nil {
		d.chunks[i] = new(descriptorChunk)
	}
	return &d.chunks[i][fd%len(descriptorChunk{})]
}

// all iterates over the descriptors in the order of their numbers, including those without events.
func (d *descriptors) all() iter.Seq2[int, *descriptor] {
	return func(yield func(int, *descriptor) bool) {
		for i, chunk := range d.chunks {
			if chunk == nil {
				continue
			}
			for j := range chunk {
				if !yield(i*len(descriptorChunk{})+j, &chunk[j]) {
					return
				}
			}
		}
	}
}
