package memcache_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

func usersFile(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	testkit.Must(t, os.WriteFile(path, []byte(lines), 0o600))
	return path
}

// TestATextClientAuthenticatesFirst by a set. No other command is served before.
func TestATextClientAuthenticatesFirst(t *testing.T) {
	path := usersFile(t, "ann:secret\nbob:other\n")
	users, err := memcache.LoadUsers(path)
	testkit.Must(t, err)
	r := start(t, memcache.Config{Users: users})
	c := r.connect(t)
	for _, a := range []struct{ request, answer string }{
		{"get k", "CLIENT_ERROR unauthenticated"},
		{"version", "CLIENT_ERROR unauthenticated"},
		{"set x 0 0 8|ann secr", "CLIENT_ERROR authentication failure"},
		{"set x 0 0 3|ann", "CLIENT_ERROR bad authentication token format"},
		{"set x 0 0 9|bob secret", "CLIENT_ERROR bad command line termination"},
		{"", "CLIENT_ERROR unauthenticated"},
		{"set x 0 0 10|ann secret", "STORED"},
		{"get x", "END"},
	} {
		if a.request == "" {
			c.expect(a.answer) // to the rest after the wrong length
			continue
		}
		c.ask(a.request, a.answer)
	}
	testkit.Must(t, os.WriteFile(path, []byte("ann:new\n"), 0o600))
	testkit.Must(t, users.Reload())
	c.ask("get x", "END")
	c = r.connect(t)
	c.ask("set x 0 0 10|ann secret", "CLIENT_ERROR authentication failure")
	c.ask("set x 0 0 7|ann new", "STORED")
}

// TestInvalidUsersAreAnError checks files of users, and that a reload that fails changes nothing.
func TestInvalidUsersAreAnError(t *testing.T) {
	for _, lines := range []string{"", "ann\n", ":x\n", "ann:\n"} {
		if _, err := memcache.LoadUsers(usersFile(t, lines)); !errors.Is(err, memcache.ErrUsers) {
			t.Errorf("%q: %v", lines, err)
		}
	}
	if _, err := memcache.LoadUsers(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	path := usersFile(t, "ann:secret\n")
	users, err := memcache.LoadUsers(path)
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(path, []byte("nonsense"), 0o600))
	if err := users.Reload(); !errors.Is(err, memcache.ErrUsers) {
		t.Error(err)
	}
	if !users.Check([]byte("ann"), []byte("secret")) || users.Check([]byte("ann"), []byte("nonsense")) || users.Check(nil, nil) {
		t.Error("the users have changed")
	}
}
