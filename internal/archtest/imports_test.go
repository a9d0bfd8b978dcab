package archtest

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/evmq/evmq/"

// An importer is a package, or with the suffix /... a tree of packages, and what it imports besides the standard library and, in a tree, its own packages.
type importer struct {
	pkg     string
	imports []string // packages of this repository, each of a row above; with the suffix /... a tree
	foreign []string // modules of others
	tests   []string // imports of its tests besides, of both kinds
}

const (
	sys     = "golang.org/x/sys"
	rapid   = "pgregory.net/rapid"
	cmp     = "github.com/google/go-cmp"
	leak    = "internal/leaktest"
	kit     = "internal/testkit"
	poller  = "internal/poller"
	sampler = "internal/sample"
	ticker  = "internal/tick"
	ids     = "internal/goid"
)

// servers returns the packages that what is built on servers may use, and more.
func servers(more ...string) []string {
	return append([]string{"event", "msgqueue", "server", "server/framing", "server/client"}, more...)
}

// importers is policy: a package imports only what its row allows, and a row allows only packages of the rows above it. So imports go down, and a new
// package or a new dependency is a decision that is made here. Rows are kept for packages that DESIGN plans.
var importers = []importer{
	// Tools for tests of this repository.
	{pkg: leak, foreign: []string{"go.uber.org/goleak"}},
	{pkg: "internal/archtest", tests: []string{leak}},

	// The parts of the packages for users.
	{pkg: poller, foreign: []string{sys}, tests: []string{leak, kit, "internal/poller/pollertest"}},
	{pkg: "internal/poller/pollertest", imports: []string{poller}, foreign: []string{sys}, tests: []string{leak, kit}},
	{pkg: ids, tests: []string{leak}},
	{pkg: sampler},
	{pkg: ticker, foreign: []string{sys}},
	{pkg: "internal/logqueue", tests: []string{leak, kit}},
	{pkg: "internal/outq", tests: []string{leak, kit, rapid}},
	{pkg: "internal/ratelimit", foreign: []string{"golang.org/x/time"}, tests: []string{leak, kit, rapid}},
	{pkg: "internal/sock", foreign: []string{sys}, tests: []string{leak, kit}},
	{pkg: "internal/sock/socktest", imports: []string{"internal/sock"}, foreign: []string{sys}, tests: []string{leak, kit}},
	{pkg: "internal/tlsio/tlstest", foreign: []string{sys}, tests: []string{leak, kit}},
	{pkg: "internal/tlsio", foreign: []string{sys}, tests: []string{leak, kit, rapid, "internal/tlsio/tlstest"}},
	{pkg: "internal/workpool", tests: []string{leak, kit}},
	{pkg: "internal/memcache/protocol", tests: []string{leak, kit, rapid}},
	{pkg: "internal/memcache/recycled"},
	{pkg: "internal/memcache/store", imports: []string{"internal/memcache/recycled"}, foreign: []string{sys}, tests: []string{leak, kit, rapid}},

	// The loop, the queue on its exported API, and the servers on both.
	{pkg: "event", imports: []string{ids, poller, sampler, ticker}, foreign: []string{sys}, tests: []string{leak, kit, rapid}},
	{pkg: kit, imports: []string{"event", leak}, foreign: []string{sys}}, // for tests; its clock is one for loops
	{pkg: "msgqueue", imports: []string{"event", sampler}, foreign: []string{sys}, tests: []string{leak, kit, rapid}},
	{pkg: "server/framing", tests: []string{leak, kit, rapid}},
	{pkg: "server", imports: []string{"event", "msgqueue", "server/framing", ids, "internal/outq", "internal/ratelimit", sampler, "internal/sock", "internal/tlsio",
		ticker, "internal/workpool"}, foreign: []string{sys, "github.com/pires/go-proxyproto"}, tests: []string{leak, kit, rapid, cmp, "internal/sock/socktest",
		"internal/tlsio/tlstest"}},

	{pkg: "server/client", imports: []string{"event", "server", "server/framing"}, tests: []string{leak, kit}},

	// Packages built on servers, on their exported API. None imports another.
	{pkg: "memcache/internal/itemfile", tests: []string{leak, kit}},
	{pkg: "memcache/internal/watch", imports: []string{"internal/memcache/protocol"}, tests: []string{leak, kit}},
	{pkg: "memcache", imports: servers("internal/logqueue", "internal/memcache/protocol", "internal/memcache/store", "memcache/internal/..."),
		tests: []string{leak, kit, rapid, cmp, sys, "internal/memcache/recycled"}},
	{pkg: "status", imports: servers(), foreign: []string{"github.com/prometheus/client_golang"}, tests: []string{leak, kit, cmp}},
	{pkg: "servertest", imports: servers(), tests: []string{leak, kit, cmp}},

	// Programs. An example shows what a user can write, so it imports nothing internal.
	{pkg: "httpd/internal/http1", imports: []string{"server/framing"}, tests: []string{leak, kit}},
	{pkg: "httpd/internal/callback"},
	{pkg: "httpd", imports: servers("httpd/internal/http1", "httpd/internal/callback"), tests: []string{leak, kit, "internal/tlsio/tlstest"}},
	{pkg: "httpd/websocket", imports: servers("httpd", "httpd/internal/http1"), foreign: []string{"github.com/gobwas/ws", "github.com/gobwas/httphead", "github.com/klauspost/compress"},
		tests: []string{leak, kit}},
	{pkg: "httpd/sse", imports: []string{"event", "server", "httpd", "httpd/internal/callback"}, tests: []string{leak, kit}},
	{pkg: "httpd/interop", tests: []string{"httpd", "httpd/sse", "httpd/websocket", leak, kit}},
	{pkg: "cmd/evcached", imports: servers("memcache", "status", "internal/logqueue", "internal/sock"), foreign: []string{sys, "github.com/spf13/pflag"},
		tests: []string{leak, kit, cmp}},
	{pkg: "cmd/evtop", imports: servers("status"), foreign: []string{sys, "github.com/spf13/pflag", "charm.land/bubbletea/v2"}, tests: []string{leak, kit}},
	{pkg: "examples/...", imports: servers("httpd", "httpd/sse", "httpd/websocket", "memcache", "status", "servertest"), foreign: []string{sys}, tests: []string{leak, kit}},
	{pkg: "."}, // its doc.go is the map of the repository

	// Modules of their own. Their dependencies are in their go.mod files.
	{pkg: "bench/...", imports: servers("httpd", "httpd/websocket", "memcache", leak, "internal/memcache/store", "internal/tlsio/tlstest"), foreign: []string{"*"}, tests: []string{kit}},
	{pkg: "httpd/frameworks/...", imports: []string{"httpd"}, foreign: []string{"*"}},
	{pkg: "memcache/difftest/...", imports: servers("memcache", leak, kit), foreign: []string{"*"}},
}

// Imports go down only, by the table. The packages that users depend on need few modules: event and msgqueue need golang.org/x/sys and nothing else.
func TestImportsGoDownOnly(t *testing.T) { obey(t, pending.imports, wrongImports) }

// Each row of the table allows only packages of the rows above it, so that no chain of imports returns to where it began.
func TestTheTableOfImportsHasAnOrder(t *testing.T) {
	for i, row := range importers {
		for _, name := range row.imports {
			if !slices.ContainsFunc(importers[:i], func(above importer) bool { return matches(name, above.pkg) }) {
				t.Errorf("%s is allowed to import %s, which has no row above it", row.pkg, name)
			}
		}
	}
}

// wrongImports finds imports that the table does not allow.
func wrongImports(s *source) (found []finding) {
	if s.file == nil {
		return nil
	}
	i := slices.IndexFunc(importers, func(row importer) bool { return matches(row.pkg, s.dir()) })
	if i < 0 {
		return []finding{s.at(s.file.Package, "package %s is not in the table of imports", s.dir())}
	}
	for _, spec := range s.file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return append(found, s.at(spec.Pos(), "%v", err))
		}
		if !importers[i].allows(name, s.isTest()) {
			found = append(found, s.at(spec.Pos(), "%s imports %s, which the table of imports does not allow", s.dir(), name))
		}
	}
	return found
}

// allows reports whether a file of the row may import a package.
func (row importer) allows(name string, test bool) bool {
	own, ours := strings.CutPrefix(name, module)
	if ours {
		name = own
	}
	first, _, _ := strings.Cut(name, "/")
	switch {
	case name+"/" == module:
		return slices.Contains(row.imports, ".")
	case ours && matches(row.pkg, name): // its own, for a tree or an external test
		return strings.HasSuffix(row.pkg, "/...") || test
	case ours:
		return containsMatch(row.imports, name) || test && containsMatch(row.tests, name)
	case !strings.Contains(first, "."):
		return true // the standard library
	}
	return slices.ContainsFunc(row.foreign, func(m string) bool { return m == "*" || within(m, name) }) ||
		test && slices.ContainsFunc(row.tests, func(m string) bool { return within(m, name) })
}

func containsMatch(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// matches reports whether pkg is pattern, or in its tree.
func matches(pattern, pkg string) bool {
	tree, ok := strings.CutSuffix(pattern, "/...")
	return pkg == tree || ok && within(tree, pkg)
}

// within reports whether pkg is dir or below it.
func within(dir, pkg string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

func TestWrongImportsFindsWhatTheTableForbids(t *testing.T) {
	for path, imports := range map[string]string{
		"event/a.go":           "\"io\"\n\"golang.org/x/sys/unix\"\n\"github.com/evmq/evmq/internal/poller\"\n\"github.com/evmq/evmq/msgqueue\" // bad\n\"pgregory.net/rapid\" // bad\n",
		"event/a_test.go":      "\"pgregory.net/rapid\"\n\"github.com/evmq/evmq/event\"\n\"github.com/evmq/evmq/server\" // bad\n",
		"msgqueue/a.go":        "\"github.com/evmq/evmq/event\"\n\"github.com/evmq/evmq/internal/poller\" // bad\n\"github.com/evmq/evmq/server\" // bad\n",
		"server/framing/a.go":  "\"bytes\"\n\"github.com/evmq/evmq/server\" // bad\n",
		"server/a.go":          "\"github.com/evmq/evmq/internal/sock\"\n\"github.com/evmq/evmq/internal/poller\" // bad\n\"github.com/evmq/evmq/memcache\" // bad\n",
		"memcache/a.go":        "\"github.com/evmq/evmq/memcache/internal/watch\"\n\"github.com/evmq/evmq/internal/outq\" // bad\n\"github.com/evmq/evmq/httpd\" // bad\n",
		"examples/echo/a.go":   "\"github.com/evmq/evmq/server\"\n\"github.com/evmq/evmq/internal/sock\" // bad\n\"github.com/spf13/pflag\" // bad\n",
		"internal/outq/a.go":   "\"io\"\n\"github.com/evmq/evmq/event\" // bad\n\"github.com/evmq/evmq/internal/sock\" // bad\n\"golang.org/x/sysadmin\" // bad\n",
		"bench/echo/a.go":      "\"github.com/evmq/evmq/bench/internal/child\"\n\"github.com/panjf2000/gnet/v2\"\n\"github.com/evmq/evmq/internal/poller\" // bad\n",
		"internal/poller/a.go": "\"github.com/evmq/evmq/internal/poller/pollertest\" // bad\n",
	} {
		sample{path, "package a\n\nimport (\n" + imports + ")\n"}.expect(t, wrongImports)
	}
	sample{"unknown/a.go", "package a // bad\n"}.expect(t, wrongImports)
}
