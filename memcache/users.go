package memcache

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// Users are the names and passwords of clients. Any goroutine may call the methods.
type Users struct {
	path  string
	table atomic.Pointer[map[string][sha256.Size]byte]
}

// ErrUsers means that a file of users is invalid. The text names the file and the line.
var ErrUsers = errors.New("memcache: bad file of users")

// LoadUsers reads a file with a line "name:password" for each user. Errors: ErrUsers, and those of the file system. May block; not in a callback.
func LoadUsers(path string) (*Users, error) {
	u := &Users{path: path}
	if err := u.Reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// Reload reads the file again. After an error the users are unchanged. Clients that have authenticated remain authenticated. Errors: as those of
// LoadUsers. May block; not in a callback.
func (u *Users) Reload() error {
	data, err := os.ReadFile(u.path)
	if err != nil {
		return fmt.Errorf("load users: %w", err)
	}
	table := map[string][sha256.Size]byte{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), "\r")
		if line == "" {
			continue
		}
		name, password, ok := strings.Cut(line, ":")
		if !ok || name == "" || password == "" {
			return fmt.Errorf("load users: %w: %s, line %d", ErrUsers, u.path, n) // without the text, which may be a password
		}
		table[name] = sha256.Sum256([]byte(password))
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("load users: %w: %s: %w", ErrUsers, u.path, err)
	}
	if len(table) == 0 {
		return fmt.Errorf("load users: %w: %s has none", ErrUsers, u.path)
	}
	u.table.Store(&table)
	return nil
}

// Check reports whether the user of this name has this password. The time that it takes does not depend on how similar the password is. Any
// goroutine.
func (u *Users) Check(name, password []byte) bool {
	var want [sha256.Size]byte
	known := false
	if table := u.table.Load(); table != nil { // otherwise there are no users
		want, known = (*table)[string(name)]
	}
	got := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && known
}
