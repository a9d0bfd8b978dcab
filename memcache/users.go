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

// Users are names and passwords. Any goroutine may use them.
type Users struct {
	path  string
	table atomic.Pointer[map[string][sha256.Size]byte]
}

// ErrUsers says what is wrong with a file of users.
var ErrUsers = errors.New("memcache: bad file of users")

// LoadUsers reads a file with a line "name:password" for each user. Errors: ErrUsers, the system's. May block.
func LoadUsers(path string) (*Users, error) {
	u := &Users{path: path}
	if err := u.Reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// Reload reads the file again. When that fails the users stay as they were. Connections that have authenticated stay so. Errors: as
// of LoadUsers. May block.
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
			return fmt.Errorf("load users: %w: %s, line %d", ErrUsers, u.path, n) // without what stands there
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

// Check reports whether the password is the name's. It takes the same time however much of it is right.
func (u *Users) Check(name, password []byte) bool {
	var want [sha256.Size]byte
	known := false
	if table := u.table.Load(); table != nil { // else nobody was loaded
		want, known = (*table)[string(name)]
	}
	got := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && known
}
