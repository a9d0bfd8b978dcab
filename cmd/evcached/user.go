//go:build linux || darwin || freebsd

package main

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// become changes the user of the process from root to that of -u, with its groups, irrevocably. It does nothing without a name, or if the process is
// not run by root.
func (s *settings) become() error {
	if s.user == "" || os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(s.user)
	if err != nil {
		return noUser("-u %s: %w", s.user, err)
	}
	uid, gid, groups, err := numbers(u)
	if err != nil {
		return system("-u %s: %w", s.user, err)
	}
	if err := syscall.Setgroups(groups); err != nil {
		return system("-u %s: set groups %v: %w", s.user, groups, err)
	}
	if err := syscall.Setgid(gid); err != nil {
		return system("-u %s: set group %d: %w", s.user, gid, err)
	}
	if err := syscall.Setuid(uid); err != nil {
		return system("-u %s: set user %d: %w", s.user, uid, err)
	}
	return nil
}

// numbers returns the user's numbers.
func numbers(u *user.User) (uid, gid int, groups []int, err error) {
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, nil, err
	}
	if gid, err = strconv.Atoi(u.Gid); err != nil {
		return 0, 0, nil, err
	}
	names, err := u.GroupIds()
	if err != nil {
		return 0, 0, nil, err
	}
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			return 0, 0, nil, err
		}
		groups = append(groups, n)
	}
	return uid, gid, groups, nil
}
