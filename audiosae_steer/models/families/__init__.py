"""Model families: one small file a family says where the residuals of its layers are."""
