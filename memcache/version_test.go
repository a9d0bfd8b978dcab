package memcache

import (
	"regexp"
	"runtime/debug"
	"testing"
)

// TestVersionIsDigitsAndDots, because some clients fail on any other form.
func TestVersionIsDigitsAndDots(t *testing.T) {
	if !regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`).MatchString(Version) {
		t.Errorf("the version is %q", Version)
	}
}

// TestReleaseIsTheModulesVersion, in a program of this module and in one of another module.
func TestReleaseIsTheModulesVersion(t *testing.T) {
	other := debug.Module{Path: "example.com/user", Version: "v9.0.0"}
	for _, test := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v1.2.3"}}, "v1.2.3"},
		{debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: "example.com/a", Version: "v2.0.0"}, {Path: modulePath, Version: "v0.4.0"}}}, "v0.4.0"},
		{debug.BuildInfo{Main: debug.Module{Path: modulePath}}, unreleased},
		{debug.BuildInfo{Main: other}, unreleased},
	} {
		if got := releaseIn(&test.info); got != test.want {
			t.Errorf("%+v: %q, want %q", test.info, got, test.want)
		}
	}
	if Release() == "" {
		t.Error("the release of this program is empty")
	}
}
