package websocket

import (
	"bytes"
	stdflate "compress/flate"
	"errors"
	"io"
	"testing"
)

// The result is that of package compress/flate, or an error above the limit. A message that is compressed and decompressed is the same again.
func FuzzDeflate(f *testing.F) {
	for _, s := range []string{"", "x", "hello hello hello hello", string(make([]byte, 5000))} {
		var b bytes.Buffer
		w, _ := stdflate.NewWriter(&b, 9)
		_, _ = w.Write([]byte(s))
		_ = w.Flush()
		f.Add(bytes.TrimSuffix(b.Bytes(), []byte(flushed)))
		_ = w.Close() // with a last block
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff})
	f.Add([]byte("\x03\xff\x7f"))
	const limit = 1000
	f.Fuzz(func(t *testing.T, p []byte) {
		i := inflaters.Get().(*inflater)
		defer i.put()
		got, err := i.inflate(p, limit)
		r := stdflate.NewReader(io.MultiReader(bytes.NewReader(p), bytes.NewReader([]byte(ending))))
		want, wantErr := io.ReadAll(io.LimitReader(r, limit+1))
		var end *CloseError
		switch {
		case len(want) > limit:
			if !errors.As(err, &end) || end.Code != CloseTooBig {
				t.Errorf("%d bytes are accepted: %v", len(got), err)
			}
		case wantErr != nil:
			if !errors.As(err, &end) || end.Code != CloseInvalidData && end.Code != CloseTooBig {
				t.Errorf("the error is %v; compress/flate has %v", err, wantErr)
			}
		case err != nil || !bytes.Equal(got, want):
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
		level := 1 + len(p)%9
		d := takeDeflater(level)
		defer d.put(level)
		if back, err := i.inflate(d.deflate(p), len(p)); err != nil || !bytes.Equal(back, p) {
			t.Errorf("level %d: %q is decompressed as %q, %v", level, p, back, err)
		}
	})
}
