package server_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/evmq/evmq/server"
)

func TestEchoOnTheLoop(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: server.HandlerFunc(echo)})
		nc := s.dial(t)
		for i := range 100 {
			line := fmt.Sprintf("line %d\n", i)
			send(t, nc, line)
			expect(t, nc, line)
		}
		closeWrite(t, nc)
		expectEOF(t, nc)
		s.shutdown(t)
		if st := s.Stats(); st.Opened != 1 || st.Closed != 1 || st.BytesRead != st.BytesWritten || st.BufferedBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestEchoOnWorkers(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		nc := s.dial(t)
		var all strings.Builder
		for i := range 2000 {
			fmt.Fprintf(&all, "line %d\n", i)
		}
		go func() {
			_, _ = io.WriteString(nc, all.String()) // a failure shows in the answer
			_ = nc.(halfCloser).CloseWrite()
		}()
		got, err := io.ReadAll(bufio.NewReader(nc))
		if err != nil || string(got) != all.String() {
			t.Fatalf("%d bytes came back of %d, %v", len(got), all.Len(), err)
		}
		s.shutdown(t)
		if st := s.Stats(); st.Requests != 2000 || st.BufferedBytes != 0 || st.Opened != 1 || st.Closed != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestMuchDataIsEchoed sends 16 MB through an echo, which stops reading while the client does not read.
func TestMuchDataIsEchoed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: server.HandlerFunc(echo)})
		nc := s.dial(t)
		data := make([]byte, 16<<20)
		rng := rand.NewChaCha8([32]byte{1})
		_, _ = rng.Read(data)
		go func() {
			_, _ = nc.Write(data) // a failure shows in the answer
			_ = nc.(halfCloser).CloseWrite()
		}()
		got, err := io.ReadAll(nc)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
			t.Fatalf("%d of %d bytes came back, %v; equal to where it ends: %v", len(got), len(data), err, bytes.HasPrefix(data, got))
		}
		s.shutdown(t)
		if st := s.Stats(); st.BufferedBytes != 0 {
			t.Errorf("%d bytes are still counted as buffered", st.BufferedBytes)
		}
	})
}
