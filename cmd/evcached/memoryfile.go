//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/memcache"
)

// memoryFile is the file of -e. A graceful stop writes it, and the next start reads and removes it: later the items in it would be out of date.
type memoryFile struct {
	path  string
	part  *os.File // path with partSuffix: a lock against other processes, and renamed to path when the items are written
	found finding
	owed  bool // the file was removed, but the start is not complete
}

// finding is the result of reading the file at the start.
type finding uint8

const (
	foundNothing finding = iota
	foundItems           // they are loaded
	foundRefused         // the file cannot be loaded, and must not be loaded later
	foundForeign         // not a file of evcached, which stays until a graceful stop replaces it
)

func (f finding) String() string { return [...]string{"nothing", "items", "refused", "foreign"}[f] }

const (
	partSuffix    = ".tmp"
	refusedSuffix = ".refused"
)

// openMemoryFile ensures that the file can be written and that no other process uses it.
func openMemoryFile(path string) (*memoryFile, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, system("-e %s: %w", path, errKind)
	}
	for {
		part, err := os.OpenFile(path+partSuffix, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, system("-e: %w", err)
		}
		current, err := lockPart(part)
		switch {
		case err != nil:
			return nil, system("-e %s: %w", path, errors.Join(err, part.Close()))
		case current:
			return &memoryFile{path: path, part: part}, nil
		}
		if err := part.Close(); err != nil { // the process that held the lock has renamed or removed it
			return nil, system("-e %s: %w", path, err)
		}
	}
}

var (
	errUsed  = errors.New("file is in use by another process")
	errOwner = errors.New("file belongs to another user")
	errKind  = errors.New("not a regular file")
)

// lockPart locks and empties a file. current is false if the file has been renamed or removed meanwhile. A file of another user is an error, since
// that user could read the items.
func lockPart(part *os.File) (current bool, err error) {
	if err := checkFile(part, os.Geteuid()); err != nil {
		return false, fmt.Errorf("%s: %w", part.Name(), err)
	}
	err = unix.Flock(int(part.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, errUsed
	case err != nil:
		return false, os.NewSyscallError("flock", err)
	}
	ours, err := part.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(part.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !os.SameFile(ours, there) {
		return false, err
	}
	// A crash may have left a part of the items.
	return true, errors.Join(part.Truncate(0), part.Chmod(0o600))
}

// checkFile returns an error unless f is a regular file that belongs to one of the users.
func checkFile(f *os.File, users ...int) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errKind
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	for _, user := range users {
		if owner == user {
			return nil
		}
	}
	return errOwner
}

// load fills the cache from the file. If the file cannot be loaded, it logs a warning and the cache is empty. The error is the cause of ctx.
func (f *memoryFile) load(ctx context.Context, p *program) error {
	done, err := f.read(ctx, p.cache)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		p.logInfo("no items to load", "file", f.path)
		return nil
	case err == nil:
		f.found = foundItems
		p.logInfo("loaded", "items", done.Items, "expired", done.Expired, "refused", done.Refused, "file", f.path)
		return nil
	case errors.Is(err, memcache.ErrForeign):
		f.found = foundForeign
	default:
		f.found = foundRefused
	}
	p.log.Warn("starting with an empty cache", "file", f.path, "err", err)
	return nil
}

func (f *memoryFile) read(ctx context.Context, cache *memcache.Cache) (memcache.Loaded, error) {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return memcache.Loaded{}, err
	}
	defer func() { _ = file.Close() }() // nothing was written
	if err := checkFile(file, os.Geteuid(), 0); err != nil {
		return memcache.Loaded{}, err
	}
	return cache.Load(while{ctx, file, nil})
}

// takeAway removes the file, since its items are going to be out of date. A refused file is renamed instead, so that it can be examined, and a
// foreign file stays.
func (f *memoryFile) takeAway() error {
	var err error
	switch f.found {
	case foundItems:
		err = os.Remove(f.path)
		f.owed = err == nil
	case foundRefused:
		err = os.Rename(f.path, f.path+refusedSuffix)
	case foundNothing, foundForeign:
	}
	if err != nil {
		return system("-e: cannot remove the file, which would be loaded again when it is out of date: %w", err)
	}
	return nil
}

// save writes the items. The file is replaced atomically.
func (f *memoryFile) save(ctx context.Context, p *program) error {
	items, err := p.cache.Save(while{ctx, nil, f.part})
	if err == nil {
		err = f.part.Sync()
	}
	if err == nil {
		err = os.Rename(f.part.Name(), f.path)
	}
	if err != nil {
		return system("-e %s: the items are lost: %w", f.path, err)
	}
	p.logInfo("saved", "items", items, "file", f.path)
	return syncFolder(filepath.Dir(f.path))
}

// syncFolder makes a rename in the directory durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err == nil {
		err = errors.Join(folder.Sync(), folder.Close())
	}
	if err != nil {
		return system("-e: sync %s: %w", path, err)
	}
	return nil
}

// close removes part, unless it was renamed, and releases the lock.
func (f *memoryFile) close() error {
	ours, err := f.part.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Lstat(f.part.Name()); err == nil && os.SameFile(ours, there) {
			err = os.Remove(f.part.Name())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, f.part.Close()); err != nil {
		return fmt.Errorf("-e: %w", err)
	}
	return nil
}

// while is a reader and a writer that fail with the cause of ctx after ctx has ended.
type while struct {
	ctx context.Context
	r   io.Reader
	w   io.Writer
}

func (w while) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}

func (w while) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.w.Write(p)
}
