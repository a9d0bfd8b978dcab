// Package interop has tests of package httpd with programs of others: clients, load generators, proxies and a browser.
//
// A test is skipped if its program is not installed, and fails then with EVMQ_FOREIGN=1. The programs have files in a temporary directory and
// their own sockets, and are ended by the test.
package interop
