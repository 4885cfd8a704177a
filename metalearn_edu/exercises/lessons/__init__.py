"""Solutions, right ways, cases, draws and questions, a module a lesson."""
