package httpd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
)

// chunksOf returns the data in chunks of this size, with a trailer.
func chunksOf(data []byte, size int) string {
	var b bytes.Buffer
	for len(data) > 0 {
		n := min(size, len(data))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, data[:n])
		data = data[n:]
	}
	b.WriteString("0\r\nX-Sum: 1\r\n\r\n")
	return b.String()
}

// randomText returns n letters.
func randomText(n int) []byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	data := make([]byte, n)
	for i := range data {
		data[i] = 'a' + byte(random.IntN(26))
	}
	return data
}

// TestAChunkedBodyIsReadInPiecesOfAnySize, which arrives in pieces of any size.
func TestAChunkedBodyIsReadInPiecesOfAnySize(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.Atoi(r.URL.Query().Get("size"))
		if err != nil {
			t.Error(err)
		}
		var got []byte
		for p := make([]byte, size); err == nil; {
			var n int
			n, err = r.Body.Read(p)
			got = append(got, p[:n]...)
		}
		if !errors.Is(err, io.EOF) || r.Trailer.Get("X-Sum") != "1" {
			t.Errorf("the end is %v, and the trailer %v", err, r.Trailer)
		}
		_, _ = w.Write(got) // the client reads it
	})})
	random := rand.New(rand.NewPCG(1, 2))
	for _, chunk := range []int{1, 7, 4096, 70_000} {
		for _, size := range []int{1, 8, 5000, 200_000} {
			data := randomText(min(300*chunk, 300_000))
			c := dial(t, addr)
			rest := fmt.Sprintf("POST /?size=%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%s", size, chunksOf(data, chunk))
			for rest != "" {
				n := min(len(rest), 1+random.IntN(1<<random.IntN(17)))
				c.send(rest[:n])
				rest = rest[n:]
			}
			if got := c.response().body; got != string(data) {
				t.Errorf("chunks of %d, read by %d: %d bytes arrived of %d", chunk, size, len(got), len(data))
			}
		}
	}
}
