package main

import (
	"fmt"
	"regexp"

	"github.com/hashicorp/nomad/api"
	"github.com/hashicorp/nomad/jobspec2"
)

var unset = regexp.MustCompile(`Unset variable "([^"]+)"`)

// Reads a file with Nomad's parser and the defaults of its api package. Gives the names of variables that have no
// default too: for each of them "1" stands.
func read(path string, text []byte) (job *api.Job, variables []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			job, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	config := jobspec2.ParseConfig{Path: path, Body: text, AllowFS: true, Strict: true}
	job, err = jobspec2.ParseWithConfig(&config)
	if err != nil {
		for _, match := range unset.FindAllStringSubmatch(err.Error(), -1) {
			variables = append(variables, match[1])
		}
	}
	if len(variables) > 0 {
		config = jobspec2.ParseConfig{Path: path, Body: text, AllowFS: true, Strict: true}
		for _, name := range variables {
			config.ArgVars = append(config.ArgVars, name+"=1")
		}
		job, err = jobspec2.ParseWithConfig(&config)
	}
	if err != nil {
		return nil, variables, err
	}
	for _, group := range job.TaskGroups {
		for _, task := range group.Tasks {
			ownIdentity(task)
		}
	}
	job.Canonicalize()
	return job, variables, nil
}

// Since 1.7 the first identity without a name of its own is the task's.
func ownIdentity(task *api.Task) {
	for i, identity := range task.Identities {
		if identity.Name == "" || identity.Name == "default" {
			task.Identity = identity
			task.Identities = append(task.Identities[:i:i], task.Identities[i+1:]...)
			return
		}
	}
}
