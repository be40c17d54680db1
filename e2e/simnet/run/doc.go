// Command run brings up the Lightning network of the tests, prints the settings of
// a tower that is paid on it, and pays the invoices it is given, a line each, until
// it is interrupted.
package main
