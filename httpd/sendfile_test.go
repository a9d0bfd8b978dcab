package httpd

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// A file is sent although the process has no descriptor left for sendfile: its bytes are copied, and counted once.
func TestAFileIsSentWhenNoDescriptorIsLeft(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	path := filepath.Join(t.TempDir(), "file")
	testkit.Must(t, os.WriteFile(path, content, 0o600))
	var before syscall.Rlimit
	testkit.Must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	for _, field := range []string{"", "Range: bytes=10-99999\r\n"} {
		addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			f, err := os.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = f.Close() }() // it was only read
			none := before
			none.Cur = 0 // for descriptors that are made from now on
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
				t.Error(err)
			}
			defer func() {
				if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
					t.Error(err)
				}
			}()
			http.ServeContent(w, req, "file", time.Time{}, f)
		})})
		c := dial(t, addr)
		c.send("GET / HTTP/1.1\r\nHost: x\r\n" + field + "\r\n")
		want := content
		if field != "" {
			want = content[10:]
		}
		if got := c.response(); got.body != string(want) {
			t.Errorf("%q: %d bytes with status %d, and not the %d of the file", field, len(got.body), got.status, len(want))
		}
		c.send(get("/")) // the connection goes on
		testkit.WantEqual(t, "bytes of the next response", len(c.response().body), len(content))
	}
}
